"""Errors of the Python interface call arguments by their names there, not by a command's options."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import asd
from asd.detection.arguments import in_python

RATE = 16000
LIGHT = {"extractor": "mel-statistics", "detector": "mahalanobis"}
OPTION = re.compile(r"--[a-z]")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("record longer clips or use --short pad", "record longer clips or use short='pad'"),
        ("use --detector.n_neighbors 1 or more", "use the detector's parameter n_neighbors=1 or more"),
        ("change --detector.seed", "change the detector's parameter seed"),
        ("lower --extractor.n_bands or raise --extractor.n_fft",
         "lower the extractor's parameter n_bands or raise the extractor's parameter n_fft"),
        ("name the folder with --data, or fit anew", "name the folder with old_data=, or fit anew"),
        ("leave --engine out, or --device cpu", "leave engine= of asd.Runtime out, or asd.Runtime(device='cpu')"),
        ("use --channel mix or 1–4", "use channel='mix' or 1–4"),
        ("fit it with --group COLUMN", "fit it with group=COLUMN"),
        ("use --segment none or --segment 2.5", "use segment=None or segment=2.5"),
        ("lower --false-alarms-per-hour below 3", "lower false_alarms_per_hour= below 3"),
        ("add --trust (in Python: trust=True), which", "add trust=True, which"),
        ("choose one by --frontend (in Python frontend=, such as 'mel-patch')",
         "choose one by frontend=, such as 'mel-patch'"),
        ("see 'asd fit DATA --by COLUMN' (asd score --monitor STATE)",
         "see 'asd fit DATA --by COLUMN' (asd score --monitor STATE)"),
        ("pip install --upgrade asd-framework", "pip install --upgrade asd-framework"),
        ("the network is forbidden (ASD_OFFLINE or --offline)", "the network is forbidden (ASD_OFFLINE or --offline)"),
    ],
)  # fmt: skip
def test_options_become_arguments(text: str, told: str) -> None:
    assert in_python(text) == told


def sound(seed: int, seconds: float = 1.0) -> Any:
    return np.random.default_rng(seed).normal(0, 0.05, int(seconds * RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> asd.Model:
    return asd.fit([sound(seed) for seed in range(12)], rate=RATE, **LIGHT)


def short(model: asd.Model) -> Any:
    return asd.fit([sound(seed, 0.01) for seed in range(6)], rate=RATE, short="refuse", **LIGHT)


def strange_channel(model: asd.Model) -> Any:
    return list(asd.score(asd.fit([sound(s) for s in range(6)], rate=RATE, channel=3, **LIGHT), sound(1), rate=RATE))


MISTAKES: dict[str, tuple[Callable[[asd.Model], Any], str]] = {
    "parameter": (lambda model: asd.fit([sound(1)], rate=RATE, detector={"name": "knn", "n_neighbors": 0}),
                  "use the detector's parameter n_neighbors=1 or more"),
    "short": (short, "use short='pad'"),
    "channel": (strange_channel, "use channel='mix' or 1–1"),
    "update": (lambda model: asd.update(model, [sound(20)], rate=RATE, old_data=[sound(21)]), "old_data="),
    "segment": (lambda model: asd.fit(["gone.wav"], segment="x"), "segment"),
    "state": (lambda model: list(asd.score(model, sound(1), rate=RATE, state="folder")), "state="),
    "load": (lambda model: asd.load("gone.asd"), "gone.asd"),
    "embed": (lambda model: asd.embed(sound(1), rate=RATE, extractor={"name": "mel-statistics", "x": 1}), "'x'"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_no_error_of_the_python_interface_names_an_option(
    mistake: str, model: asd.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path))  # what the model learned from is lost
    call, text = MISTAKES[mistake]
    with pytest.raises(asd.AsdError) as refusal:
        call(model)
    assert text in str(refusal.value)
    assert not OPTION.search(str(refusal.value))


def test_failures_name_arguments_too(model: asd.Model) -> None:
    strict = asd.fit([sound(seed, 2.0) for seed in range(6)], rate=RATE, short="refuse", **LIGHT)
    (failure,) = asd.score(strict, sound(1, 0.01), rate=RATE)
    assert not failure.ok
    assert str(failure.error).endswith("record longer clips or use short='pad'")
