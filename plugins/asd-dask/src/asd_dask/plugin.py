"""What the distribution offers, as data."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import ComponentSpec, hookimpl


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the engine ``dask``."""
    yield ComponentSpec(
        kind="engine",
        name="dask",
        summary="Workers of a Dask cluster, on this computer or on many (--scheduler local:N or an address)",
        target="asd_dask.engine:DaskEngine",
        licence="Apache-2.0; Dask BSD-3-Clause",
        requires=("distributed>=2026.1",),
    )
