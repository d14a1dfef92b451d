"""For every check a component that breaks its promise, and is caught by that check; one of each kind that keeps all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from asd.contract import installed
from asd.testing import check_component, checks
from asd_testing import kit
from asd_testing.under_test import ComponentUnderTest, component_under_test

BROKEN = Path(__file__).resolve().parent / "broken"
DISTRIBUTIONS = {
    "asd-broken": "broken_plugin",
    "asd-copycat": "broken_copycat",
    "asd-heavy": "broken_heavy",
    "asd-noisy": "broken_noisy",
    "asd-slow": "broken_slow",
    "asd-threaded": "broken_threaded",
}

EXAMPLES = [
    ("plugin-module-is-light", "of-heavy", "importing broken_heavy imports numpy, which every listing would wait for"),
    ("plugin-module-is-light", "of-slow", "importing broken_slow takes "),
    ("plugin-module-is-quiet", "of-noisy", "importing broken_noisy prints 'hello from a plugin'"),
    ("plugin-module-is-quiet", "of-threaded", "importing broken_threaded leaves a thread behind: left-behind"),
    ("name-is-free", "asd-broken:sounddetector", "the name 'sounddetector' is taken by asd-copycat:sounddetector"),
    ("contract-version-is-known", "modern", "needs plugin contract 2, this asd-framework has 1"),
    ("target-exists", "nowhere", "cannot import its target 'broken_components:Nowhere': AttributeError"),
    ("target-exists", "nomodule", "cannot import its target 'no_such_module:Detector': ModuleNotFoundError"),
    ("target-exists", "impostor", "is not a subclass of asd.plugin.Detector"),
    ("target-exists", "isolated", "isolation has no effect on a detector, which is never run in a worker process"),
    ("spec-is-complete", "unlicensed", "its licence is 'unknown': name it"),
    ("spec-is-complete", "alone", "its spec names a frontend that is not there"),
    ("spec-is-complete", "silent", "its spec lacks sample_rate = 8000, and no parameter decides that"),
    ("spec-is-true", "lyingextractor", "declares dimension 7, but its dimension is 5"),
    ("spec-is-true", "boastingextractor", "declares dimension 7, but gives embeddings of 5 values"),
    ("constructor-stores", "changing", "was given power = -2.0, stores 2.0: store it as it is"),
    ("constructor-stores", "forgetting", "the parameter power is not stored: set self.power = power"),
    ("parameters-round-trip", "unwritable", "its parameters cannot be kept in a model file"),
    ("parameters-round-trip", "untyped", "bands came back as [[1, 2]] instead of [(1, 2)]"),
    ("fit-for-workers", "unpicklable", "a new one cannot be pickled for a worker"),
    ("results-are-well-formed", "single", "scores have type float32, expected float64"),
    ("results-are-well-formed", "onetoomany", "scores have shape (61,), expected (60,)"),
    ("results-are-well-formed", "onetoofew", "scores have shape (59,), expected (60,)"),
    ("results-are-well-formed", "oneforall", "scores have shape (1,), expected (60,)"),
    ("results-are-well-formed", "scalar", "gives float instead of an array"),
    ("results-are-well-formed", "listing", "gives list instead of an array"),
    ("results-are-well-formed", "columns", "scores have shape (60, 2), expected (60,)"),
    ("results-are-well-formed", "complex", "scores have type complex128, expected float64"),
    ("results-are-well-formed", "objects", "scores have type object, expected float64"),
    ("results-are-well-formed", "notanumber", "on machine sound: 1 of 60 results are NaN or infinite"),
    ("results-are-well-formed", "infinite", "on machine sound: 1 of 60 results are NaN or infinite"),
    ("results-are-well-formed", "doubleprecision", "embeddings have type float64, expected float32"),
    ("results-are-well-formed", "rowtoofew", "embeddings have shape (2, 5), expected (3, 5)"),
    ("results-are-well-formed", "halfnan", "on machine sound: 6 of 15 results are NaN or infinite"),
    ("results-are-well-formed", "pair", "gives Pair, expected asd.Windows"),
    ("results-are-well-formed", "timeless", "windows have duration nan, expected seconds above 0"),
    ("results-are-well-formed", "latestart", "in the starts: 4 of 4 results are NaN or infinite"),
    ("results-are-well-formed", "constant", "every result is the same number"),
    ("results-are-well-formed", "boastingextractor", "embeddings have shape (3, 5), expected (3, 7)"),
    ("results-are-well-formed", "missingstart", "1 starts for 4 windows"),
    ("inputs-stay-unmodified", "inplace", "what it was fed with is changed: work on a copy"),
    ("inputs-stay-unmodified", "writing", "read-only"),
    ("single-and-double-precision", "singleonly", "TypeError: float32 only"),
    ("seed-determines-results", "unseeded", "made and fitted a second time: results differ by"),
    ("seed-determines-results", "global", "draws from global random numbers: use np.random.default_rng(self.seed)"),
    ("batches-do-not-matter", "batchrelative", "in two batches: results differ by"),
    ("batches-do-not-matter", "emptyrefused", "AssertionError"),
    ("windows-depend-on-their-samples", "centring", "window 1 cut out of the recording: results differ by"),
    ("short-and-long-sound", "impatient", "30 s of sound give 100 windows, expected 479"),
    ("hard-sound", "normalising", "on silence: 40 of 40 results are NaN or infinite"),
    ("hard-windows", "logarithmic", "on windows of zeros: 2 of 2 results are NaN or infinite"),
    ("nan-is-not-hidden", "nanhiding", "a window with a NaN gives finite results"),
    ("nan-is-not-hidden", "nanspreading", "a NaN in one window spoils the results of others"),
    ("sounds-are-told-apart", "deaf", "3 windows of different sound give the same result"),
    ("anomalies-score-higher", "reversed", "expected at least 0.8: higher must mean more anomalous, turn the sign"),
    ("unfitted-use-is-refused", "unlearned", "scores before it was fitted: raise asd.errors.ConfigError"),
    ("constructor-touches-nothing", "reading", "its constructor opens"),
    ("state-round-trips", "stateless", "restored from a model file: results differ by"),
    ("same-in-another-process", "processbound", "in another process: results differ by"),
    ("no-network", "calling", "reaches for the network: socket.getaddrinfo 127.0.0.1"),
    ("no-stray-files", "littering", "notes-of-a-detector.txt; keep to asd.plugin.cache_folder()"),
    ("memory-stays", "hoarding", "bytes of every batch"),
    ("works-beside-others", "jealous", "beside all other components: results differ by"),
    ("works-beside-others", "dying", "beside all other installed components its process ended with exit code 70"),
    ("foreign-folder-is-refused", "welcoming", "finds 0 recordings in a folder that is not this dataset"),
    ("recordings-are-well-formed", "unordered", "recordings are not ordered by path"),
    ("blocks-are-well-formed", "flat", "samples have shape (500,), expected (n, channels)"),
    ("blocks-are-well-formed", "integers", "samples have type int16, expected float32, full scale ±1"),
    ("blocks-are-short", "endless", "a block holds 3 s of sound, at most 1 s is allowed"),
    ("blocks-are-in-the-order-of-time", "backwards", "a block of time -1000000000.500 comes after one of"),
    ("blocks-stay-unmodified", "reusing", "a block changes when the next one comes: do not use its buffer again"),
    ("source-closes", "clinging", "samples.raw ("),
    ("source-closes", "unclosable", "its blocks cannot be closed: make blocks() a generator"),
    ("source-unreachable-is-told", "leaking", "raises FileNotFoundError for what cannot be reached, expected Source"),
    ("source-unreachable-is-told", "wordless", "ends without a word where nothing can be reached: raise asd.errors"),
    ("events-are-delivered", "losing", "of the events check-0, check-1, check-2 there arrived: check-0, check-2"),
    ("events-are-delivered", "answering", "send returns True, expected None: what fails raises asd.errors.SinkError"),
    ("hard-events-are-delivered", "printing", "is not delivered: UnicodeEncodeError"),
    ("events-stay-unmodified", "enriching", "changes the event that it sends: work on a copy"),
    ("sink-unreachable-is-told", "escaping", "raises FileNotFoundError for what cannot be delivered, expected Sink"),
    ("sink-unreachable-is-told", "swallowing", "returns although nothing can be reached: the event is lost"),
    ("pieces-are-done-elsewhere", "lazy", "the piece ran in this process: errors of it would end the whole run"),
    ("state-is-sent-once", "repeating", "a scattered value was pickled 9 times for 9 pieces, expected once"),
    ("every-worker-answers-once", "unanswering", "everywhere returned {}, expected a dict of workers"),
    ("results-are-those-of-this-process", "altering", "numbers differ from those that this process computes"),
    ("a-dead-process-costs-its-own-piece", "breaking", "unexpected EngineError: the pool is broken"),
    ("cancelled-pieces-do-not-begin", "cancelless", "12 of 12 pieces began although all were cancelled when the first"),
    ("closing-twice-is-harmless", "unclosing", "unexpected RuntimeError: closed already"),
]
SOUND = [
    "soundfrontend",
    "soundextractor",
    "asd-broken:sounddetector",
    "sounddataset",
    "soundsource",
    "soundsink",
    "soundengine",
]


@pytest.fixture(scope="module", autouse=True)
def broken_plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install the broken plugins, and nothing else, in a folder of their own."""
    folder = tmp_path_factory.mktemp("site")
    for distribution, module in DISTRIBUTIONS.items():
        info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[asd.plugins]\n{distribution} = {module}\n")
    before = set(threading.enumerate())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASD_PLUGINS", ",".join(DISTRIBUTIONS))
        patch.syspath_prepend(str(folder))
        patch.syspath_prepend(str(BROKEN))
        patch.chdir(tmp_path_factory.mktemp("here"))
        installed._registry.cache_clear()
        yield
    installed._registry.cache_clear()
    assert {thread.name for thread in set(threading.enumerate()) - before} <= {"left-behind"}


def only(name: str) -> kit.Check:
    return next(check for check in checks() if check.name == name)


@pytest.fixture
def tested(request: pytest.FixtureRequest) -> Iterator[ComponentUnderTest]:
    made = component_under_test(request.param)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("check", "tested", "text"), EXAMPLES, indirect=["tested"], ids=[f"{c}-{n}" for c, n, _ in EXAMPLES]
)
def test_a_broken_component_is_caught_by_its_check(check: str, tested: ComponentUnderTest, text: str) -> None:
    result = kit.outcome(only(check), tested, None)
    assert result.outcome == "failed"
    assert text in result.reason


def test_every_check_has_a_broken_component() -> None:
    assert {check for check, _, _ in EXAMPLES} == {check.name for check in checks()}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_component_passes_every_check(name: str) -> None:
    report = check_component(name)
    expected = {"name-is-free"} if name == "asd-broken:sounddetector" else set()
    assert {result.check for result in report.results if result.outcome != "passed"} == expected, str(report)


def test_only_the_check_of_its_mistake_fails() -> None:
    """A mistake is told once, by the check that knows its mend, not by all."""
    for name, check in (("hoarding", "memory-stays"), ("reversed", "anomalies-score-higher")):
        report = check_component(name)
        assert [result.check for result in report.of("failed")] == [check]
