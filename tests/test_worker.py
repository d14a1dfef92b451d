"""Worker processes: a component in another process gives the same, and its crash is an error like any other."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asd.contract import isolation as worker
from asd.contract.interfaces import Runtime
from asd.errors import AsdError, ConfigError
from asd.records import Audio

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
            if self.act == "report_strides":
                own[1][:] = values.strides[0]
            return np.stack([mean, deviation, *own], axis=1).astype(np.float32)

        def weight_hashes(self):
            return {"levels": "00"}

        def _work(self): pass
        def _report_strides(self): pass
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
            time.sleep(60)
        def _sleep_once(self):
            if not Path(self.file).exists():
                self._sleep()

    class Halves(Frontend):
        isolation = "process"
        sample_rate = 8000
        produces = Representation("waveform", (4000,), 8000)
        window_length = 4000
        window_hop = 4000

        def __init__(self) -> None: pass

        def __call__(self, audio):
            values = audio.samples[0][: len(audio.samples[0]) // 4000 * 4000].reshape(-1, 4000)
            return Windows(values, np.arange(len(values)) * 0.5, 0.5)

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


def process_ids(embeddings: np.ndarray) -> set[int]:
    return set(embeddings[:, 2].astype(int).tolist())


def is_running(process_id: int) -> bool:
    """Whether it runs; a zombie that only waits for its parent's attention does not."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(process_id: int, within: float = 5.0) -> bool:
    until = time.monotonic() + within
    while is_running(process_id) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_running(process_id)


def wait_for(file: Path) -> int:
    until = time.monotonic() + 20
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < until, "the worker did not start"
        time.sleep(0.05)
    return int(file.read_text())


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
    assert extractor.weight_hashes() == {"levels": "00"}


def test_one_process_takes_batches_of_any_size(levels: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = levels()
    small, large = extractor.embed(WINDOWS[:1]), extractor.embed(np.tile(WINDOWS, (50, 1, 1)))
    monkeypatch.setattr(worker, "_BATCH_BYTES", 3 * WINDOWS[:1].nbytes)
    cut = extractor.embed(WINDOWS[::-1])  # not contiguous, and in batches of 3, 3 and 1
    np.testing.assert_array_equal(cut[::-1], large[:7])
    assert len(process_ids(np.concatenate([small, large, cut]))) == 1


def test_windows_that_overlap_are_copied_once(levels: Callable[..., Any]) -> None:
    sound = np.random.default_rng(2).normal(size=1000).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(sound, 400)[::100]
    result = levels(act="report_strides").embed(windows)
    np.testing.assert_allclose(result[:, 0], windows.mean(axis=1), rtol=1e-4, atol=1e-6)
    assert set(result[:, 3]) == {400.0}


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
    shared = shared_memory(process_id)
    assert shared
    assert all(file.exists() for file in shared)
    if end == "close":
        extractor.close()
    else:
        del extractor
        gc.collect()
    assert ends(process_id, within=1.0)
    assert not any(file.exists() for file in shared)


def shared_memory(process_id: int) -> list[Path]:
    """Return the files of the shared memory that a process has open."""
    fields = (line.split() for line in Path(f"/proc/{process_id}/maps").read_text().splitlines())
    return [Path(field[-1]) for field in fields if field[-1].startswith("/dev/shm/")]


def test_an_interrupted_batch_leaves_no_answer_behind(levels: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "pid"
    extractor = levels(act="sleep_once", file=str(file))

    def interrupt() -> None:
        wait_for(file)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        extractor.embed(WINDOWS)
    assert ends(int(file.read_text()))
    assert extractor.embed(WINDOWS[:2]).shape == (2, 4)


# No guard against being imported again, as people write scripts.
SCRIPT = """
    import numpy as np, sys
    import worker_components
    from asd.contract.isolation import isolated
    extractor = isolated(worker_components.Levels(act=sys.argv[1], file=sys.argv[2]), "levels")
    print(extractor.embed(np.zeros((2, 8), np.float32)).shape, flush=True)
"""


def script(site: Path, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a plain script in a process group of its own, as a terminal does."""
    (folder / "plain.py").write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, str(folder / "plain.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, process_group=0)


def test_a_plain_script_is_not_run_twice(site: Path, tmp_path: Path) -> None:
    out, errors = script(site, tmp_path, "work", "").communicate(timeout=30)
    assert (out, errors) == ("(2, 4)\n", "")


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_busy_worker_dies_with_its_parent(site: Path, tmp_path: Path, kind: signal.Signals) -> None:
    with script(site, tmp_path, "sleep", str(tmp_path / "pid")) as parent:
        process_id = wait_for(tmp_path / "pid")
        shared = shared_memory(process_id)
        parent.send_signal(kind)
        assert ends(process_id)
    assert shared
    assert not any(file.exists() for file in shared)


def test_ctrl_c_ends_both(site: Path, tmp_path: Path) -> None:
    with script(site, tmp_path, "sleep", str(tmp_path / "pid")) as parent:
        process_id = wait_for(tmp_path / "pid")
        os.killpg(parent.pid, signal.SIGINT)
        _, errors = parent.communicate(timeout=10)
        assert ends(process_id)
    assert errors.count("KeyboardInterrupt") == 1  # the script's own, none of the worker


@pytest.mark.slow
def test_the_command_runs_components_in_workers(site: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for index in range(6):
        soundfile.write(tmp_path / f"{index}.wav", random.normal(size=8000) * 0.1, 8000)
    model = tmp_path / "fan.asd"
    command = [str(Path(sys.executable).parent / "asd")]
    environment = {**os.environ, "PYTHONPATH": str(site), "ASD_CACHE": str(tmp_path / "cache")}
    fit = [*command, "fit", str(tmp_path), "--extractor", "levels", "--detector", "mahalanobis", "-o", str(model)]
    done = subprocess.run(fit, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    scored = subprocess.run(
        [*command, "score", str(model), str(tmp_path)], capture_output=True, text=True, env=environment
    )
    assert scored.returncode in (0, 1), scored.stderr
    assert "5.wav" in scored.stdout


def test_nothing_of_it_loads_without_need() -> None:
    check = (
        "import sys, asd.detection.pipeline; print({'asd.contract.isolation', 'multiprocessing'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
