"""Worker processes: a component in another process gives the same, and its crash is an error like any other."""

from __future__ import annotations

import gc
import json
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.contract import installed
from asd.contract import isolation as worker
from asd.contract.interfaces import Runtime
from asd.contract.processes import start_python
from asd.errors import AsdError, ConfigError, PluginError
from asd.records import Audio
from waiting import PATIENCE, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests send signals and look into /proc")

COMPONENTS = """
    import os, signal, time
    from pathlib import Path
    from typing import Literal
    import numpy as np
    from asd.errors import ConfigError
    from asd.contract.interfaces import Extractor, Frontend
    from asd.records import Representation, Windows
    from asd_registry import ComponentSpec, hookimpl

    class Levels(Extractor):
        '''Mean and deviation of a window, its process and the batch size; misbehaves on demand.'''

        isolation = "process"
        consumes = Representation("any", ())
        dimension = 4

        def __init__(self, *, act: str = "work", file: str = "", factors: tuple[float, ...] = (1.0, 1.0)) -> None:
            self.act, self.file, self.factors = act, file, factors

        def embed(self, values):
            getattr(self, "_" + self.act)()
            flat = values.reshape(len(values), -1)
            own = np.full(len(flat), os.getpid()), np.full(len(flat), self.runtime.batch_size or 0)
            mean, deviation = flat.mean(axis=1) * self.factors[0], flat.std(axis=1) * self.factors[1]
            embeddings = np.stack([mean, deviation, *own], axis=1).astype(np.float32)
            return eval(Path(self.file).read_text()) if self.act == "give" else embeddings

        def weight_hashes(self):
            return {"levels": "0" * 64}

        def _work(self): pass
        def _give(self): pass
        def _forge(self):
            import asd.contract.worker_process as process
            process.send = lambda stream, *_: stream.write(self.file.encode()) and stream.flush()
        def _stop_short(self):
            import asd.contract.worker_process as process
            half = b'{"arrays": [{"dtype": "float32", "shape": [7, 4]}]}' + bytes([10] + [0] * 50)
            process.send = lambda stream, *_: stream.write(half) and stream.flush() or os._exit(3)
        def _print(self): print("a library says hello")
        def _refuse(self): raise ConfigError("levels: too loud; turn it down")
        def _fail(self): raise ValueError("cannot reshape")
        def _quit(self): os._exit(3)
        def _die(self): os.kill(os.getpid(), signal.SIGKILL)
        def _die_once(self):
            if not Path(self.file).exists():
                Path(self.file).touch()
                os.kill(os.getpid(), signal.SIGSEGV)
        def _sleep(self):
            Path(self.file).write_text(str(os.getpid()))
            time.sleep(3600)
        def _sleep_once(self):
            if not Path(self.file).exists():
                self._sleep()

    class Halves(Frontend):
        isolation = "process"
        sample_rate = 8000
        produces = Representation("waveform", (4000,), 8000)
        window_length = 4000
        window_hop = 4000

        def __init__(self, *, wrong: str = "") -> None:
            self.wrong = wrong

        def __call__(self, audio):
            values = audio.samples[0][: len(audio.samples[0]) // 4000 * 4000].reshape(-1, 4000)
            windows = Windows(values, np.arange(len(values)) * 0.5, 0.5)
            return eval(self.wrong) if self.wrong else windows

    @hookimpl
    def asd_components():
        yield ComponentSpec(kind="extractor", name="levels", summary="Levels.", licence="MIT",
                            target="worker_components:Levels", frontend="halves")
        yield ComponentSpec(kind="frontend", name="halves", summary="Halves.", licence="MIT",
                            target="worker_components:Halves")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a folder with an installed plugin, whose module this process can import."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "worker_components.py").write_text(textwrap.dedent(COMPONENTS))
    info = folder / "worker_components-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: worker-components\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[asd.plugins]\nworker = worker_components\n")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def levels(site: Path) -> Callable[..., Any]:
    import worker_components  # type: ignore[import-not-found]

    return lambda **parameters: worker.isolated(worker_components.Levels(**parameters), "levels")


WINDOWS = np.random.default_rng(0).normal(size=(7, 5, 3)).astype(np.float32)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt here, which a test run in the background ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def environment(site: Path) -> dict[str, str]:
    """Return this environment, where the plugin is installed and nothing is imported from the current folder."""
    inherited = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if Path(entry).is_absolute()]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *inherited])}


def process_ids(embeddings: np.ndarray) -> set[int]:
    return set(embeddings[:, 2].astype(int).tolist())


def is_running(process_id: int) -> bool:
    """Whether it runs; a zombie that only waits for its parent's attention does not."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until_ended(process_id: int) -> None:
    until(lambda: not is_running(process_id), "the worker ends")


def wait_for(file: Path) -> int:
    return int(until(lambda: file.exists() and file.read_text(), "the worker starts"))


def test_a_worker_gives_what_the_component_gives(levels: Callable[..., Any]) -> None:
    extractor = levels(factors=(2.0, 0.5))
    extractor.runtime = Runtime(batch_size=9)
    result = extractor.embed(WINDOWS)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[:, 0], 2 * WINDOWS.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(result[:, 1], 0.5 * WINDOWS.std(axis=(1, 2)), rtol=1e-5)
    assert os.getpid() not in process_ids(result)
    assert set(result[:, 3]) == {9.0}


def test_the_wrapper_answers_for_the_component(levels: Callable[..., Any]) -> None:
    extractor = levels(factors=(2.0, 0.5))
    assert extractor.get_params() == {"act": "work", "file": "", "factors": (2.0, 0.5)}
    assert (extractor.consumes.kind, extractor.dimension) == ("any", 4)
    assert extractor.weight_hashes() == {"levels": "0" * 64}


def test_one_process_takes_batches_of_any_size(levels: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = levels()
    small, large = extractor.embed(WINDOWS[:1]), extractor.embed(np.tile(WINDOWS, (50, 1, 1)))
    monkeypatch.setattr(worker, "_BATCH_BYTES", 3 * WINDOWS[:1].nbytes)
    cut = extractor.embed(WINDOWS[::-1])  # not contiguous, and in batches of 3, 3 and 1
    np.testing.assert_array_equal(cut[::-1], large[:7])
    assert len(process_ids(np.concatenate([small, large, cut]))) == 1


def test_windows_that_overlap_arrive_as_they_are(levels: Callable[..., Any]) -> None:
    sound = np.random.default_rng(2).normal(size=1000).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(sound, 400)[::100]
    result = levels().embed(windows)
    np.testing.assert_allclose(result[:, 0], windows.mean(axis=1), rtol=1e-4, atol=1e-6)


def test_windows_of_any_number_type_arrive_as_they_are(levels: Callable[..., Any]) -> None:
    extractor = levels()
    for dtype in ("float64", "int16", "bool", ">f4"):
        windows = (WINDOWS * 10).astype(dtype)
        np.testing.assert_allclose(extractor.embed(windows)[:, 0], windows.mean(axis=(1, 2)), rtol=1e-4, atol=1e-4)


def test_a_front_end_can_have_a_worker(site: Path) -> None:
    import worker_components

    local = worker_components.Halves()
    frontend = worker.isolated(local, "halves")
    audio = Audio(np.random.default_rng(1).normal(size=(1, 12345)).astype(np.float32), 8000, "a clip")
    expected, windows = local(audio), frontend(audio)
    np.testing.assert_array_equal(windows.values, expected.values)
    np.testing.assert_array_equal(windows.start, expected.start)
    assert windows.duration == 0.5
    assert (frontend.sample_rate, frontend.window_length, frontend.window_hop) == (8000, 4000, 4000)
    assert frontend.produces == local.produces


NO_NUMBERS = "expected real numbers, not None or other objects"


@pytest.fixture(scope="module")
def giving(site: Path) -> Callable[[str], Any]:
    """Return a function that lets an extractor return the value of an expression."""
    import worker_components

    file = site / "expression"
    extractor = worker.isolated(worker_components.Levels(act="give", file=str(file)), "levels")

    def embed(expression: str) -> Any:
        file.write_text(expression)
        return extractor.embed(WINDOWS)

    return embed


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        ("None", f"an array of type 'object' and shape (); {NO_NUMBERS}"),
        ("np.array([{}] * 7)", f"an array of type 'object' and shape (7,); {NO_NUMBERS}"),
        ("embeddings.astype(complex)", f"an array of type 'complex128' and shape (7, 4); {NO_NUMBERS}"),
        ("embeddings[:-1]", "arrays of shape (6, 4); expected (7, 4)"),
        ("embeddings[:0]", "arrays of shape (0, 4); expected (7, 4)"),
        ("embeddings[:, :3]", "arrays of shape (7, 3); expected (7, 4)"),
        ("embeddings[:, 0]", "arrays of shape (7,); expected (7, 4)"),
        ("1.0", "arrays of shape (); expected (7, 4)"),
    ],
)
def test_a_wrong_result_is_a_named_error(giving: Callable[[str], Any], returned: str, text: str) -> None:
    with pytest.raises(PluginError) as raised:
        giving(returned)
    assert str(raised.value) == f"levels: its worker process returned {text}"


@pytest.mark.parametrize("returned", ["embeddings.astype('f8')", "embeddings.astype('>f4')", "embeddings.tolist()"])
def test_numbers_of_another_type_are_taken(giving: Callable[[str], Any], returned: str) -> None:
    np.testing.assert_allclose(giving(returned)[:, 0], WINDOWS.mean(axis=(1, 2)), rtol=1e-5)


def test_a_list_of_unequal_rows_is_a_named_error(giving: Callable[[str], Any]) -> None:
    with pytest.raises(RuntimeError, match=r"^levels: ValueError in its worker process: setting an array element"):
        giving("[[1.0], [1.0, 2.0]]")


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        ("Windows(values, windows.start[:-1], 0.5)", "3 windows, 2 starts and the duration 0.5; expected a start for "),
        ("Windows(values, windows.start, float('nan'))", "3 windows, 3 starts and the duration nan; expected a start"),
        ("Windows(values, windows.start, -1)", "3 windows, 3 starts and the duration -1.0; expected a start for each"),
        ("Windows(values[:, 1:], windows.start, 0.5)", "arrays of shape (3, 3999), (3,); expected (None, 4000), (None"),
        ("Windows(None, windows.start, 0.5)", f"an array of type 'object' and shape (); {NO_NUMBERS}"),
    ],
)
def test_wrong_windows_are_a_named_error(site: Path, returned: str, text: str) -> None:
    import worker_components

    frontend = worker.isolated(worker_components.Halves(wrong=returned), "halves")
    with pytest.raises(PluginError) as raised:
        frontend(Audio(np.zeros((1, 12345), np.float32), 8000, "a clip"))
    assert str(raised.value).startswith(f"halves: its worker process returned {text}")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            '{"arrays": [{"dtype": "float32", "shape": [7, 1000000000]}]}\n',
            "and shape (7, 1000000000); expected",
        ),
        ('{"arrays": [{"dtype": "object", "shape": [7, 4]}]}\n', NO_NUMBERS),
        ("x" * 2**16 + "\n", "instead of a message"),
    ],
    ids=["size", "type", "text"],
)
def test_a_forged_message_ends_the_worker(levels: Callable[..., Any], message: str, text: str) -> None:
    extractor = levels(act="forge", file=message)
    with pytest.raises(PluginError, match=f"^levels: its worker process returned .*{re.escape(text)}"):
        extractor.embed(WINDOWS)
    assert extractor.process_id is None  # the rest of the message is not read


def test_a_forged_message_without_arrays_is_a_named_error(levels: Callable[..., Any]) -> None:
    with pytest.raises(PluginError, match=r"^levels: its worker process returned arrays of shape ; expected \(7, 4\)$"):
        levels(act="forge", file='{"arrays": []}\n').embed(WINDOWS)


def test_a_forged_error_is_an_error(levels: Callable[..., Any]) -> None:
    with pytest.raises(RuntimeError, match=r"^levels: 7 in its worker process: None"):
        levels(act="forge", file='{"error": 7, "module": "os", "arrays": []}\n').embed(WINDOWS)


def test_an_answer_that_stops_short_is_a_named_error(levels: Callable[..., Any]) -> None:
    with pytest.raises(AsdError, match=r"^levels: its worker process ended again on the same sound \(exit code 3\)"):
        levels(act="stop_short").embed(WINDOWS)


def test_an_error_arrives_as_it_was_raised(levels: Callable[..., Any]) -> None:
    extractor = levels(act="refuse")
    for _ in range(2):  # an error ends no worker
        with pytest.raises(ConfigError) as raised:
            extractor.embed(WINDOWS)
        assert str(raised.value) == "levels: too loud; turn it down"
    assert "in _refuse" in raised.value.__notes__[0]


def test_another_failure_shows_where_in_the_worker(levels: Callable[..., Any]) -> None:
    with pytest.raises(RuntimeError) as raised:
        levels(act="fail").embed(WINDOWS)
    assert str(raised.value) == "levels: ValueError in its worker process: cannot reshape"
    assert "in _fail" in raised.value.__notes__[0]


def test_a_crash_is_survived_once(levels: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "asd")
    result = levels(act="die_once", file=str(tmp_path / "died")).embed(WINDOWS)
    np.testing.assert_allclose(result[:, 0], WINDOWS.mean(axis=(1, 2)), rtol=1e-5)
    assert caplog.messages == ["levels: its worker process ended (SIGSEGV); starting another"]


@pytest.mark.parametrize(("act", "cause"), [("die", "SIGKILL"), ("quit", "exit code 3")])
def test_a_second_crash_is_a_named_error(levels: Callable[..., Any], act: str, cause: str) -> None:
    with pytest.raises(AsdError) as raised:
        levels(act=act).embed(WINDOWS)
    assert str(raised.value) == (
        f"levels: its worker process ended again on the same sound ({cause}); if memory ran out, close other programs "
        "or use a smaller --batch-size, else choose another component or reinstall its packages"
    )


def test_a_worker_that_is_killed_between_batches_is_replaced(levels: Callable[..., Any]) -> None:
    extractor = levels()
    (first,) = process_ids(extractor.embed(WINDOWS))
    os.kill(first, signal.SIGKILL)
    assert process_ids(extractor.embed(WINDOWS)) != {first}


def test_what_a_component_prints_spoils_nothing(levels: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    assert levels(act="print").embed(WINDOWS).shape == (7, 4)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "a library says hello" in printed.err


@pytest.mark.parametrize("end", ["close", "collect"])
def test_a_worker_ends_with_its_wrapper(levels: Callable[..., Any], end: str) -> None:
    extractor = levels()
    (process_id,) = process_ids(extractor.embed(WINDOWS))
    if end == "close":
        extractor.close()
    else:
        del extractor
        gc.collect()
    until_ended(process_id)


def test_a_closed_worker_starts_again(levels: Callable[..., Any]) -> None:
    extractor = levels()
    (process_id,) = process_ids(extractor.embed(WINDOWS))
    extractor.close()
    extractor.close()
    assert extractor.process_id is None
    assert process_ids(extractor.embed(WINDOWS)) == {extractor.process_id} != {process_id}


def test_a_worker_takes_no_shared_memory(levels: Callable[..., Any]) -> None:
    """A container often grants its processes 64 MB of it, and ends those that take more."""
    before = set(Path("/dev/shm").iterdir())
    extractor = levels()
    extractor.embed(np.zeros((10, 1_000_000), np.float32))
    assert set(Path("/dev/shm").iterdir()) <= before


def test_an_interrupted_batch_leaves_no_answer_behind(levels: Callable[..., Any], tmp_path: Path, ctrl_c: None) -> None:
    file = tmp_path / "pid"
    extractor = levels(act="sleep_once", file=str(file))

    def interrupt() -> None:
        wait_for(file)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        extractor.embed(WINDOWS)
    until_ended(int(file.read_text()))
    assert extractor.embed(WINDOWS[:2]).shape == (2, 4)


# No guard against being imported again, as people write scripts.
SCRIPT = """
    import numpy as np, sys
    import worker_components
    from asd.contract.isolation import isolated
    extractor = isolated(worker_components.Levels(act=sys.argv[1], file=sys.argv[2]), "levels")
    print(extractor.embed(np.zeros((2, 8), np.float32)).shape, flush=True)
"""


def script(site: Path, folder: Path, *arguments: str, text: str = SCRIPT) -> subprocess.Popen[str]:
    """Start a plain script as a terminal does: in a process group of its own, and Ctrl-C interrupts it."""
    (folder / "plain.py").write_text(textwrap.dedent(text))
    return subprocess.Popen(
        [sys.executable, str(folder / "plain.py"), *arguments],
        env=environment(site),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    )


def test_a_plain_script_is_not_run_twice(site: Path, tmp_path: Path) -> None:
    out, errors = script(site, tmp_path, "work", "").communicate(timeout=PATIENCE)
    assert (out, errors) == ("(2, 4)\n", "")


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_busy_worker_dies_with_its_parent(site: Path, tmp_path: Path, kind: signal.Signals) -> None:
    with script(site, tmp_path, "sleep", str(tmp_path / "pid")) as parent:
        process_id = wait_for(tmp_path / "pid")
        parent.send_signal(kind)
        until_ended(process_id)


def test_ctrl_c_ends_both(site: Path, tmp_path: Path) -> None:
    with script(site, tmp_path, "sleep", str(tmp_path / "pid")) as parent:
        process_id = wait_for(tmp_path / "pid")
        os.killpg(parent.pid, signal.SIGINT)
        _, errors = parent.communicate(timeout=PATIENCE)
        until_ended(process_id)
    assert errors.count("KeyboardInterrupt") == 1  # the script's own, none of the worker


FORKED = """
    import numpy as np, os, sys
    import worker_components
    from asd.contract.isolation import isolated
    extractor = isolated(worker_components.Levels(), "levels")
    def used():
        return int(extractor.embed(np.zeros((2, 8), np.float32))[0, 2])
    first = used()
    if (copy := os.fork()) == 0:
        sys.exit(7 if used() != first else 1)  # at its end, what it owns is released
    _, status = os.waitpid(copy, 0)
    print(os.waitstatus_to_exitcode(status), used() == first, flush=True)
"""


def test_a_forked_copy_leaves_the_worker_alone_and_starts_its_own(site: Path, tmp_path: Path) -> None:
    out, errors = script(site, tmp_path, text=FORKED).communicate(timeout=PATIENCE)
    assert (out, errors) == ("7 True\n", "")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Make a folder of modules that hide those of Python and NumPy, and leave a file behind if they are run."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in ("json", "numpy", "struct", "signal", "asd", "asd_registry", "encodings", "sitecustomize"):
        (folder / f"{name}.py").write_text("open(__file__ + '.ran', 'w')\n")
    return folder


def test_a_worker_imports_nothing_from_the_current_folder(site: Path, tmp_path: Path, hostile: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(hostile)
        out, errors = script(site, tmp_path, "work", "").communicate(timeout=PATIENCE)
    assert (out, errors) == ("(2, 4)\n", "")
    assert list(hostile.glob("*.ran")) == []


def test_relative_folders_are_left_out_of_the_import_path(monkeypatch: pytest.MonkeyPatch, hostile: Path) -> None:
    monkeypatch.chdir(hostile)
    monkeypatch.setattr(sys, "path", ["", ".", hostile.name, "..", *sys.path])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", hostile.name, str(hostile / "elsewhere")]))
    code = "import json, numpy, struct, signal, os; print(sys.argv[1:], os.environ['PYTHONPATH'], *sys.path, sep='\\n')"
    out, _ = start_python(code, "x", "y", stdout=subprocess.PIPE, text=True).communicate(timeout=PATIENCE)
    arguments, searched, *path = out.splitlines()
    assert (arguments, searched) == ("['x', 'y']", str(hostile / "elsewhere"))
    assert path == [entry for entry in sys.path if Path(entry).is_absolute()]
    assert list(hostile.glob("*.ran")) == []


def test_a_component_of_the_current_folder_is_told_how_to_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = textwrap.dedent(COMPONENTS).partition("@hookimpl")[0]
    (tmp_path / "only_here.py").write_text(source)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    import only_here  # type: ignore[import-not-found]

    with pytest.raises(PluginError) as raised:
        worker.isolated(only_here.Levels(), "levels").embed(WINDOWS)
    assert str(raised.value) == (
        "Levels: No module named 'only_here': a worker process does not import from the current folder; install the "
        "module, or name its folder in PYTHONPATH"
    )


@pytest.mark.slow
def test_checks_import_nothing_from_the_current_folder(site: Path, hostile: Path) -> None:
    command = [Path(sys.executable).with_name("asd"), "check", "levels", "--json"]
    settings = {**environment(site), "ASD_PLUGINS": "worker-components,asd-testing,asd-frontends"}
    done = subprocess.run(command, cwd=hostile, env=settings, capture_output=True, text=True, timeout=PATIENCE)
    (report,) = json.loads(done.stdout)
    results = {result["check"]: result for result in report["results"]}
    for check in ("plugin-module-is-quiet", "results-are-well-formed", "constructor-touches-nothing", "memory-stays"):
        assert results[check]["outcome"] == "passed", results[check]
    for check in ("same-in-another-process", "works-beside-others"):  # its results hold the process id
        assert "results differ" in results[check]["reason"]
    assert list(hostile.glob("*.ran")) == []


@pytest.fixture
def recordings(site: Path, tmp_path: Path) -> Iterator[Path]:
    """Make healthy clips, and let the registry of this process know the plugin."""
    random = np.random.default_rng(0)
    for index in range(6):
        soundfile.write(tmp_path / f"{index}.wav", random.normal(size=8000) * 0.1, 8000)
    installed._registry.cache_clear()
    yield tmp_path
    installed._registry.cache_clear()


def test_a_model_and_a_pipeline_end_their_workers(recordings: Path) -> None:
    def processes(pipeline: Any) -> list[int]:
        return [pipeline.frontend.process_id, pipeline.extractor.process_id]

    config = {"extractor": "levels", "detector": "mahalanobis"}
    with asd.fit(recordings, **config) as model:
        started = processes(model.pipeline)
        assert all(map(is_running, started))
    until(lambda: not any(map(is_running, started)), "all workers end")
    assert processes(model.pipeline) == [None, None]
    assert len(list(asd.score(model, recordings))) == 6  # a closed model goes on
    started = processes(model.pipeline)
    model.close()
    until(lambda: not any(map(is_running, started)), "all workers end")
    with model.pipeline as pipeline:
        pipeline.embed(asd.Clip(recordings / "0.wav"))
        started = processes(pipeline)
    until(lambda: not any(map(is_running, started)), "all workers end")


@pytest.mark.slow
def test_the_command_runs_components_in_workers(site: Path, recordings: Path, hostile: Path, tmp_path: Path) -> None:
    model = tmp_path / "fan.asd"
    command = [str(Path(sys.executable).parent / "asd")]
    settings: Any = {"cwd": hostile, "env": {**environment(site), "ASD_CACHE": str(tmp_path / "cache")}}
    fit = [*command, "fit", str(recordings), "--extractor", "levels", "--detector", "mahalanobis", "-o", str(model)]
    done = subprocess.run(fit, capture_output=True, text=True, timeout=PATIENCE, **settings)
    assert done.returncode == 0, done.stderr
    scored = subprocess.run([*command, "score", str(model), str(tmp_path)], capture_output=True, text=True, **settings)
    assert scored.returncode in (0, 1), scored.stderr
    assert "5.wav" in scored.stdout
    assert list(hostile.glob("*.ran")) == []


def test_nothing_of_it_loads_without_need() -> None:
    check = (
        "import sys, asd.detection.pipeline; print({'asd.contract.isolation', 'multiprocessing'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
