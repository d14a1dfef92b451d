"""Which model files may choose what components fetch, open or run: those that the user trusts, or fitted here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asd.contract.create import create
from asd.contract.permissions import check_parameters, model_file_rules
from asd.contract.plain import imported_by
from asd.detection.manifest import branches_of
from asd.detection.modelfile import Arrays, content_digest
from asd.errors import ModelFileError
from asd.files.trusted import is_trusted, remember
from asd_registry import PIPELINE_KINDS

Manifest = Mapping[str, Any]


@contextmanager
def rules(path: str | Path, manifest: Manifest, arrays: Arrays, *, trust: bool | None) -> Iterator[None]:
    """Make the components of a model file inside the block, by the rules that hold for it.

    What is trusted is the content that was read, not the file of that name: it may be another one by now.

    Parameters
    ----------
    path : str or Path
        The model file.
    manifest, arrays : mapping
        What it holds, as `asd.detection.modelfile.read` returns it.
    trust : bool or None
        Whether the user consents, now and for ever; None: this process was sent what another one has consent for.

    Raises
    ------
    ModelFileError
        If a parameter needs consent, and there is none.
    """
    if trust is None:
        yield
        return
    digest = content_digest(manifest, arrays)
    if trust:
        remember(digest, path)
    if trust or is_trusted(digest):
        yield
        return
    with model_file_rules(path):
        # Before a component is made: a pipeline may look into the files that its parameters name.
        _check(path, manifest)
        yield


def remember_fitted(path: str | Path, manifest: Manifest, arrays: Arrays) -> None:
    """Trust a model that was fitted here, or loaded with consent, if it needs that."""
    try:
        with model_file_rules(path):
            _check(path, manifest)
            for branch in _branches(manifest):
                detector = branch["detector"]
                create("detector", detector["name"], _parameters(detector))  # it may create others: an ensemble does
    except ModelFileError:
        remember(content_digest(manifest, arrays), path)


def _check(path: str | Path, manifest: Manifest) -> None:
    if classes := manifest.get("classes"):
        everything = dict.fromkeys([*classes, *imported_by(manifest["config"])])
        raise ModelFileError(
            f"{path}: imports {', '.join(everything)}, which no plugin offers: if you trust whoever made this file, "
            "add --trust (in Python: trust=True), which is remembered for its very content"
        )
    for branch in (manifest["config"], *_branches(manifest)):
        for kind in PIPELINE_KINDS:
            chosen = branch.get(kind)
            if isinstance(chosen, Mapping) and isinstance(chosen.get("name"), str):
                check_parameters(kind, chosen["name"], _parameters(chosen))


def _branches(manifest: Manifest) -> Sequence[Mapping[str, Any]]:
    config: Mapping[str, Any] = manifest["config"]
    return branches_of(config) or [config]


def _parameters(chosen: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in chosen.items() if name != "name"}
