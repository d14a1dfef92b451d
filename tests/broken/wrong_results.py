"""Components that return what they should not, or raise, as the parameter `fault` says; a plugin that is one file."""

from typing import Any

import numpy as np

from asd import Audio, Detector, Extractor, Frontend, Representation, Windows
from asd_registry import CommandSpec, ComponentSpec, hookimpl

RATE = 8000


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def spoiled(fault: str, values: Any) -> Any:
    """Return what a careless author might return instead of `values`."""
    if fault == "raise":
        raise KeyError("left")  # the place
    if fault == "exit":
        raise SystemExit(0)
    if fault == "unreadable":
        raise UnreadableError
    bad = np.array(values, np.float64)
    if fault in ("nan", "inf"):
        bad[0] = float(fault)
        return bad
    ragged = [[1.0], [1.0, 2.0]]
    return {
        "": values,
        "float32": np.asarray(values, np.float32),
        "list": np.asarray(values).tolist(),
        "columns": np.stack([bad, bad], axis=-1),
        "one-less": values[:-1],
        "one-for-all": values[:1],
        "scalar": 1.0,
        "none": None,
        "complex": bad + 0j,
        "object": np.asarray(values, object),
        "ragged": ragged,
        "text": np.asarray(values).astype(str),
        "huge": bad * 1e300 + 1e300,
    }[fault]


class Energies(Frontend):
    sample_rate = RATE

    def __init__(self, *, fault: str = "", long: bool = False) -> None:
        self.fault = fault
        self.long = long

    @property
    def produces(self) -> Representation:
        return Representation("vector", (4,), RATE)

    @property
    def window_length(self) -> int:
        return 300_000 * RATE if self.long else 4000

    @property
    def window_hop(self) -> int:
        return 4000

    def __call__(self, audio: Audio) -> Windows:
        cut = np.lib.stride_tricks.sliding_window_view(audio.samples[0], 4000)[::4000]
        values = np.log(np.square(cut.reshape(-1, 4, 1000)).mean(axis=2) + 1e-12)
        start, duration = np.arange(len(values)) * 0.5, 0.5
        if not (audio.source or "").endswith("bad.wav"):
            return Windows(values, start, duration)
        if self.fault.startswith("start-"):
            return Windows(values, spoiled(self.fault.removeprefix("start-"), start), duration)
        if self.fault.startswith("duration-"):
            return Windows(values, start, {"nan": np.nan, "zero": 0, "text": "x"}[self.fault.removeprefix("duration-")])
        if self.fault == "tuple":
            return values, start  # type: ignore[return-value]  # that is its mistake
        return Windows(spoiled(self.fault, values), start, duration)


class Same(Extractor):
    """Spoils windows that are much quieter than usual."""

    def __init__(self, *, fault: str = "") -> None:
        self.fault = fault

    @property
    def consumes(self) -> Representation:
        return Representation("vector", (4,), RATE)

    @property
    def dimension(self) -> int:
        return 4

    def embed(self, values: Any) -> Any:
        is_bad = float(np.mean(values)) < -9
        return spoiled(self.fault if is_bad else "", np.asarray(values, np.float32))


class Distance(Detector):
    """Spoils scores of windows that are much quieter than usual, or raises in `fit`."""

    def __init__(self, *, fault: str = "", fit_fault: str = "") -> None:
        self.fault = fault
        self.fit_fault = fit_fault

    def fit(self, features: Any) -> Any:
        spoiled(self.fit_fault, features)
        self.centre_ = features.mean(axis=0, dtype=np.float64)
        return self

    def score(self, features: Any) -> Any:
        is_bad = float(np.mean(features)) < -2
        return spoiled(self.fault if is_bad else "", np.abs(features - self.centre_).sum(axis=1, dtype=np.float64))


def _command() -> Any:
    import click

    @click.command()
    @click.option("--raise", "raises", is_flag=True)
    def one(raises: bool) -> int:
        if raises:
            raise KeyError("left")
        return 1

    return one


one = _command()


@hookimpl
def asd_components() -> Any:
    usual: dict[str, Any] = {"summary": "A test's", "licence": "MIT"}
    for kind, name in (("frontend", "energies"), ("extractor", "same"), ("detector", "careless")):
        target = {"energies": "Energies", "same": "Same", "careless": "Distance"}[name]
        declared = {"sample_rate": RATE, "shape": (4,)} if kind == "frontend" else {}
        yield ComponentSpec(kind=kind, name=name, target=f"{__name__}:{target}", **usual, **declared)  # type: ignore[arg-type]


@hookimpl
def asd_commands() -> Any:
    return [CommandSpec(name="one", target=f"{__name__}:one", summary="Returns 1")]
