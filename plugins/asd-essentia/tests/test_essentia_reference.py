"""Essentia itself in a worker process: the same windows, the same numbers, and no harm from a worker's death."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asd.errors import AsdError
from asd.experiment import Config, Pipeline
from asd.plugin import Audio, Clip, Runtime, create
from asd_essentia.frontend import MusicnnWaveform
from asd_essentia.plugin import GRAPHS
from waiting import PATIENCE

CLIP = Clip(next((Path(__file__).resolve().parents[3] / "examples" / "data").rglob("*.flac")))


def pipeline(extractor: str, layer: str, **frontend: float) -> Pipeline:
    name = "musicnn-waveform" if extractor.endswith("-essentia") else "musicnn-mel"
    options = {"extractor": {"name": extractor, "layer": layer}, "frontend": {"name": name, **frontend}}
    return Pipeline(Config.from_mapping(options), Runtime(device="cpu", precision="fp32"))


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.parametrize(("model", "window", "hop"), [("mtt", 1.0, 0.5), ("msd", 3.0, 1.5), ("mtt", 1.0, 2.5)])
def test_all_engines_agree_on_a_recording(essentia: None, model: str, window: float, hop: float) -> None:
    layers = "mean-pool,max-pool,penultimate,taggram,cnn1"
    reference = pipeline(f"musicnn-{model}-essentia", layers, window=window, hop=hop).embed(CLIP)
    for name in (f"musicnn-{model}", f"musicnn-{model}-torch"):
        ours = pipeline(name, layers, window=window, hop=hop).embed(CLIP)
        np.testing.assert_array_equal(ours.start, reference.start)
        assert ours.values.shape == reference.values.shape
        assert np.abs(ours.values - reference.values).max() < 1e-3
        assert ours.values.std() > 0.1


@pytest.mark.parity
@pytest.mark.slow
def test_a_window_counts_for_itself(essentia: None, golden_sound: np.ndarray) -> None:
    overlapping = MusicnnWaveform()(Audio(golden_sound[np.newaxis], 16000)).values
    extractor = create("extractor", "musicnn-mtt-essentia", {"layer": "penultimate"})
    together = extractor.embed(overlapping)
    np.testing.assert_allclose(extractor.embed(overlapping.copy()), together, atol=1e-4)
    np.testing.assert_allclose(extractor.embed(overlapping[2:3]), together[2:3], atol=1e-4)
    cut = extractor.embed(overlapping[:, :16000])  # one frame less, as 1 s of any other front end has
    assert cut.shape == together.shape
    assert 0 < np.abs(cut - together).max() < 5


@pytest.mark.parametrize("samples", [1, 511])
def test_a_window_must_hold_a_frame(samples: int) -> None:
    extractor = create("extractor", "musicnn-mtt-essentia", {}) if _installed() else _reference()
    with pytest.raises(AsdError) as raised:
        extractor.embed(np.zeros((2, samples), np.float32))
    assert str(raised.value) == (
        f"musicnn-mtt-essentia takes windows of at least 512 samples (0.032 s), got shape ({samples},); "
        "lengthen them by --frontend.window"
    )


def _installed() -> bool:
    return importlib.util.find_spec("essentia") is not None


def _reference() -> Any:
    from asd_essentia.reference import MusicnnEssentia

    return MusicnnEssentia()


def test_without_essentia_the_other_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "essentia", None)
    with pytest.raises(AsdError) as raised:
        _reference().embed(np.zeros((1, 16128), np.float32))
    assert str(raised.value) == (
        "essentia is not installed: pip install 'essentia-tensorflow>=2.1b6.dev1110' (AGPL-3.0, Linux and macOS); "
        "musicnn-mtt and musicnn-msd give the same numbers without it"
    )


def test_the_model_file_can_pin_the_graph() -> None:
    assert _reference().weight_hashes() == {GRAPHS["mtt"].name: GRAPHS["mtt"].sha256}


def children() -> set[int]:
    listed = (path.read_text().split() for path in Path("/proc/self/task").glob("*/children"))
    return {int(process_id) for process_ids in listed for process_id in process_ids}


def kill_next_worker(times: int) -> threading.Thread:
    """Kill the next `times` processes that this one starts to run Essentia, each in the middle of its work."""
    before = children()

    def kill() -> None:
        killed: set[int] = set()
        until = time.monotonic() + PATIENCE
        while len(killed) < times and time.monotonic() < until:
            for process_id in children() - before - killed:
                if "worker_process" in Path(f"/proc/{process_id}/cmdline").read_text():
                    time.sleep(0.3)
                    os.kill(process_id, signal.SIGKILL)
                    killed.add(process_id)
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the test looks into /proc")
def test_a_worker_killed_in_the_middle_is_replaced(essentia: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "asd")
    killer = kill_next_worker(1)
    result = pipeline("musicnn-mtt-essentia", "mean-pool").embed(CLIP)
    killer.join()
    assert np.isfinite(result.values).all()
    assert "musicnn-mtt-essentia: its worker process ended (SIGKILL); starting another" in caplog.messages


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the test looks into /proc")
def test_a_worker_killed_twice_is_a_named_error(essentia: None) -> None:
    killer = kill_next_worker(2)
    with pytest.raises(AsdError, match=r"\.flac: musicnn-mtt-essentia: its worker process ended again .*\(SIGKILL\)"):
        pipeline("musicnn-mtt-essentia", "mean-pool").embed(CLIP)
    killer.join()


TOGETHER = """
import sys
{first}
import numpy as np
from pathlib import Path
from asd.experiment import Clip, Config, Pipeline
values = Pipeline(Config.from_mapping({{"extractor": "musicnn-mtt-essentia"}})).embed(Clip(Path(sys.argv[1]))).values
assert values.shape[1] == 753 and np.isfinite(values).all()
{last}
print("both ran")
"""
TENSORFLOW = "import tensorflow as tf; assert float(tf.reduce_sum(tf.ones((2, 3)))) == 6"


@pytest.mark.slow
@pytest.mark.parametrize("when", ["first", "last"])
def test_essentia_and_tensorflow_in_one_run(essentia: None, when: str) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed: nothing here that clashes with Essentia")
    code = TOGETHER.format(**{"first": "", "last": "", when: TENSORFLOW})
    done = subprocess.run([sys.executable, "-c", code, str(CLIP.path)], capture_output=True, text=True, check=False)
    assert done.stdout == "both ran\n", done.stderr
