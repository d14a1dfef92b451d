"""Offers what broken_components, broken_listening and broken_engines hold."""

from collections.abc import Iterator
from typing import Any

from asd_registry import API_VERSION, ComponentSpec, Kind, hookimpl

_KINDS: dict[Kind, str] = {
    "frontend": "SoundFrontend Pair Timeless LateStart MissingStart Centring Impatient Normalising",
    "extractor": (
        "SoundExtractor LyingExtractor BoastingExtractor EmptyRefused NaNSpreading Deaf DoublePrecision RowTooFew "
        "HalfNaN"
    ),
    "detector": (
        "SoundDetector Changing Forgetting Unwritable Untyped Unpicklable Single OneTooMany Constant InPlace Writing "
        "SingleOnly Unseeded Global BatchRelative Logarithmic NaNHiding Reversed Unlearned Reading Stateless "
        "OneTooFew OneForAll Scalar Listing Columns Complex Objects NotANumber Infinite "
        "ProcessBound Calling Littering Hoarding Jealous Dying Isolated"
    ),
    "dataset": "SoundDataset Welcoming Unordered",
    "source": "SoundSource Flat Integers Endless Backwards Reusing Clinging Unclosable Leaking Wordless",
    "sink": "SoundSink Losing Answering Printing Enriching Escaping Swallowing",
    "engine": "SoundEngine Lazy Repeating Unanswering Cancelless Altering Breaking Unclosing",
}
_DECLARED: dict[Kind, dict[str, Any]] = {
    "frontend": {"sample_rate": 8000, "shape": (10,)},
    "extractor": {"shape": (10,), "dimension": 5, "frontend": "soundfrontend"},
    "detector": {},
    "dataset": {},
    "source": {},
    "sink": {},
    "engine": {},
}
_MODULES: dict[Kind, str] = {"source": "broken_listening", "sink": "broken_listening", "engine": "broken_engines"}


def _spec(kind: Kind, cls: str, **changed: Any) -> ComponentSpec:
    module = _MODULES.get(kind, "broken_components")
    usual = {"name": cls.lower(), "target": f"{module}:{cls}", "summary": "A test's", "licence": "MIT"}
    return ComponentSpec(**{"kind": kind, **usual, **_DECLARED[kind], **changed})


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    for kind, names in _KINDS.items():
        for name in names.split():
            changed = {"dimension": 7} if name in ("LyingExtractor", "BoastingExtractor") else {}
            yield _spec(kind, name, **changed)
    yield _spec("detector", "SoundDetector", name="unlicensed", licence="unknown")
    yield _spec("detector", "SoundDetector", name="alone", frontend="no-such-front-end")
    yield _spec("frontend", "SoundFrontend", name="silent", sample_rate=None)
    yield _spec("detector", "SoundDetector", name="modern", api_version=API_VERSION + 1)
    yield _spec("detector", "Nowhere", name="nowhere")
    yield _spec("detector", "SoundDetector", name="lacking", requires=("no-such-thing",))
    yield _spec("detector", "SoundDetector", name="nomodule", target="no_such_module:Detector")
    yield _spec("detector", "SoundDetector", name="impostor", target="broken_components:SoundExtractor")
    yield _spec("detector", "Outdated", name="outdated-target", target="broken_outdated:Outdated")
