"""A training that was stopped goes on where it stopped, and ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from asd.errors import ConfigError
from asd.experiment import rendered_by
from asd.plugin import create
from asd_autoencoder import checkpoint
from waiting import PATIENCE

Patches = Callable[..., npt.NDArray[np.float32]]
EPOCHS = 6


@pytest.fixture(autouse=True)
def _save_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)


def detector(name: str, **parameters: Any) -> Any:
    shape = {} if name == "dense-ae" else {"shape": (16, 16)}
    # A held-out part and early stop that never comes: their state has to survive as well.
    return create(
        "detector",
        name,
        {"epochs": EPOCHS, "train_batch": 32, "early_stop": 50, "held_out": 0.2, **shape, **parameters},
    )


def stopping_at(epoch: int, error: BaseException) -> Any:
    """Return a progress renderer that raises `error` as the loop is about to begin `epoch`, counted from 1."""

    def renderer(items: Any, description: str, total: int | None) -> Iterator[Any]:
        for item in items:
            if item + 1 == epoch:
                raise error
            yield item

    return rendered_by(renderer)


def fit_elsewhere(cache: Path, features: Path, result: Path, name: str, *, kill_at: int = 0) -> subprocess.Popen[bytes]:
    """Start a process that fits on saved features, saves its state, and kills itself as epoch `kill_at` begins."""
    program = textwrap.dedent(f"""
        import os, signal, sys
        import numpy as np, torch
        from asd.plugin import create
        from asd.progress import rendered_by
        from asd_autoencoder import checkpoint
        torch.set_num_threads(1)
        checkpoint.SECONDS_BETWEEN = 0.0
        def renderer(items, description, total):
            for item in items:
                if item + 1 == {kill_at}:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield item
        with rendered_by(renderer):
            fitted = create("detector", {name!r}, {detector(name).get_params()!r}).fit(np.load({str(features)!r}))
        np.savez({str(result)!r}, **fitted.get_state())
    """)
    environment = {**os.environ, "ASD_CACHE": str(cache.parent)}
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE)


def assert_same(left: Any, right: Any) -> None:
    assert set(left) == set(right)
    for name in left:
        assert np.array_equal(left[name], right[name]), name


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill outright")
@pytest.mark.parametrize("name", ["dense-ae", "lenet-dcae", "small-dcae"])
def test_a_killed_training_ends_bit_for_bit_like_an_undisturbed_one(
    name: str, patches: Patches, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    undisturbed = detector(name).fit(patches(96)).get_state()
    np.save(tmp_path / "features.npy", patches(96))
    process = fit_elsewhere(cache, tmp_path / "features.npy", tmp_path / "result.npz", name, kill_at=4)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    assert len(list(cache.iterdir())) == 1
    caplog.set_level("INFO", "asd")
    assert_same(detector(name).fit(patches(96)).get_state(), undisturbed)
    assert f"{name}: continuing at epoch 4 of {EPOCHS}" in caplog.text
    assert list(cache.iterdir()) == []


@pytest.mark.slow
def test_two_processes_may_run_the_same_training_at_once(patches: Patches, cache: Path, tmp_path: Path):
    np.save(tmp_path / "features.npy", patches(96))
    results = [tmp_path / "first.npz", tmp_path / "second.npz"]
    processes = [fit_elsewhere(cache, tmp_path / "features.npy", result, "dense-ae") for result in results]
    for process in processes:
        _, error = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, error.decode()
    assert_same(np.load(results[0]), np.load(results[1]))
    assert_same(np.load(results[0]), detector("dense-ae").fit(patches(96)).get_state())
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("name", ["dense-ae", "lenet-dcae"])
def test_ctrl_c_leaves_the_last_checkpoint(name: str, patches: Patches, cache: Path, caplog: pytest.LogCaptureFixture):
    undisturbed = detector(name).fit(patches(96)).get_state()
    with stopping_at(3, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        detector(name).fit(patches(96))
    assert len(list(cache.iterdir())) == 1
    caplog.set_level("INFO", "asd")
    assert_same(detector(name).fit(patches(96)).get_state(), undisturbed)
    assert f"continuing at epoch 3 of {EPOCHS}" in caplog.text


def test_early_stop_counts_on_after_an_interruption(patches: Patches, caplog: pytest.LogCaptureFixture):
    parameters = {"early_stop": 3, "epochs": 200, "learning_rate": 0.03}
    undisturbed = detector("dense-ae", **parameters).fit(patches(96))
    last = len(undisturbed.held_out_loss_)
    assert last < 200
    with stopping_at(last, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        detector("dense-ae", **parameters).fit(patches(96))
    caplog.set_level("INFO", "asd")
    assert_same(detector("dense-ae", **parameters).fit(patches(96)).get_state(), undisturbed.get_state())
    assert f"continuing at epoch {last} of 200" in caplog.text


@pytest.mark.parametrize(
    ("parameters", "seed"), [({"learning_rate": 0.01}, 0), ({"epochs": EPOCHS + 1}, 0), ({"seed": 1}, 0), ({}, 1)]
)
def test_another_training_starts_from_its_beginning(
    parameters: dict[str, Any], seed: int, patches: Patches, caplog: pytest.LogCaptureFixture
):
    with stopping_at(3, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        detector("dense-ae").fit(patches(96))
    caplog.set_level("INFO", "asd")
    detector("dense-ae", **parameters).fit(patches(96, seed=seed))
    assert "continuing" not in caplog.text


@pytest.mark.parametrize("content", [b"", b"\x10\x00\x00\x00\x00\x00\x00\x00{}", b"\xff" * 100])
def test_a_damaged_checkpoint_is_reported_and_the_training_starts_over(
    content: bytes, patches: Patches, cache: Path, caplog: pytest.LogCaptureFixture
):
    undisturbed = detector("dense-ae").fit(patches(96)).get_state()
    with stopping_at(3, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        detector("dense-ae").fit(patches(96))
    next(cache.iterdir()).write_bytes(content)
    assert_same(detector("dense-ae").fit(patches(96)).get_state(), undisturbed)
    assert "unusable checkpoint" in caplog.text
    assert "the training starts over" in caplog.text


def test_a_flipped_bit_in_a_checkpoint_is_found(patches: Patches, cache: Path, caplog: pytest.LogCaptureFixture):
    undisturbed = detector("dense-ae").fit(patches(96)).get_state()
    with stopping_at(3, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        detector("dense-ae").fit(patches(96))
    (kept,) = cache.iterdir()
    content = bytearray(kept.read_bytes())
    content[-10] ^= 0x40  # within a tensor: no reader of the format could notice
    kept.write_bytes(content)
    assert_same(detector("dense-ae").fit(patches(96)).get_state(), undisturbed)
    (record,) = caplog.records
    assert record.message == (
        f"{kept}: unusable checkpoint (damaged: its SHA-256 does not match); the training starts over"
    )


def test_a_cache_that_cannot_be_written_does_not_stop_the_training(
    patches: Patches, cache: Path, caplog: pytest.LogCaptureFixture
):
    undisturbed = detector("dense-ae").fit(patches(96)).get_state()
    cache.parent.mkdir(exist_ok=True)
    for path in (cache, cache.parent):
        if path.is_dir():
            path.rmdir()
    cache.parent.write_text("a file where the folder should be")
    assert_same(detector("dense-ae").fit(patches(96)).get_state(), undisturbed)
    told = [record.message for record in caplog.records if "no checkpoint can be written" in record.message]
    assert len(told) == len(caplog.records) == 1
    assert told[0].endswith("free space or set ASD_CACHE to another folder")


def test_short_epochs_write_no_checkpoint(patches: Patches, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", 600.0)
    with stopping_at(EPOCHS, KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        detector("dense-ae").fit(patches(96))
    assert not cache.exists()


def test_a_training_that_diverges_leaves_nothing(patches: Patches, cache: Path):
    # One batch an epoch: the first epoch ends well, and a checkpoint is written.
    diverging = detector("dense-ae", learning_rate=1e30, train_batch=96, early_stop=None)
    with pytest.raises(ConfigError, match="the loss became nan in epoch 2 "):
        diverging.fit(patches(96))
    assert list(cache.iterdir()) == []


def test_what_nobody_continued_for_a_month_is_deleted(patches: Patches, cache: Path):
    cache.mkdir(parents=True)
    old, young = cache / "old.safetensors", cache / "young.safetensors"
    for path, days in ((old, 31), (young, 29)):
        path.write_bytes(b"")
        os.utime(path, (time.time() - days * 86400,) * 2)
    detector("dense-ae", epochs=1).fit(patches(96))
    assert list(cache.iterdir()) == [young]
