"""Machines and components that behave otherwise than usual: of other lengths, or deadly for the process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile

from fleet_sound import hum, plant, run

KILLER = """
import os
from asd.plugin import CheckedDetector
from asd_registry import ComponentSpec, hookimpl


class Killer(CheckedDetector):
    \"\"\"Kills its process where the sound is loud, as a fault of a library may.\"\"\"

    def _learn(self, features):
        if features.mean() > -20:
            os.kill(os.getpid(), 9)
        self.mean = features.mean(axis=0)

    def _score(self, features):
        return ((features - self.mean) ** 2).mean(axis=1)

    def get_state(self):
        return {"mean": self.mean}

    def set_state(self, state):
        self.mean = state["mean"]


@hookimpl
def asd_components():
    yield ComponentSpec(kind="detector", name="killer", summary="kills", target=f"{__name__}:Killer", licence="MIT")
"""


def test_a_machine_that_kills_its_workers_is_a_row(tmp_path: Path) -> None:
    plant(tmp_path / "plant", {"a": 150, "b": 250, "c": 350})
    for path in (tmp_path / "plant" / "b").iterdir():
        hum(path, 250, 1 + int(path.stem), gain=6)
    (tmp_path / "killer.py").write_text(KILLER)
    options = ("--extractor", "sound-level", "--detector", "killer", "--no-standardise", "--pca", "none")
    how = ("--plugin-file", tmp_path / "killer.py", "--engine", "local", "--scheduler", "local:2", "--json")
    done = run("fit", tmp_path / "plant", "--by", "folder", "-o", tmp_path / "m", *options, *how)
    said = json.loads(done.stdout)
    assert said["summary"] == {"fitted": 2, "unchanged": 0, "failed": 1, "of_no_machine": 0}
    assert "that was its second try" in said["machines"]["b"]["error"]


WHOLE = '''
import numpy as np
from asd.plugin import Frontend, Representation, Windows
from asd_registry import ComponentSpec, hookimpl


class Whole(Frontend):
    """The mean level of each 100 ms of a clip: as many values as fit."""

    sample_rate = 8000
    window_length = None
    window_hop = 1
    produces = Representation("vector", (None,), 8000)

    def __call__(self, audio):
        parts = audio.samples[0][: len(audio.samples[0]) // 800 * 800].reshape(1, -1, 800)
        return Windows(np.abs(parts).mean(axis=2).astype(np.float32), np.zeros(1), audio.samples.shape[1] / 8000)


@hookimpl
def asd_components():
    yield ComponentSpec(kind="frontend", name="whole", summary="all", target=f"{__name__}:Whole", licence="MIT")
'''


def test_clips_of_each_machine_may_have_their_own_length(tmp_path: Path) -> None:
    """A front end without windows gives what fits the clip: one size within a machine, not among them."""
    plant(tmp_path / "plant", {"a": 150})
    (tmp_path / "plant" / "b").mkdir()
    for path in (tmp_path / "plant" / "a").iterdir():
        sound, rate = soundfile.read(path)
        soundfile.write(tmp_path / "plant" / "b" / path.name, np.concatenate([sound, sound]), rate)
    (tmp_path / "whole.py").write_text(WHOLE)
    plugin = ("--plugin-file", tmp_path / "whole.py")
    options = ("--frontend", "whole", "--extractor", "identity", "--detector", "mahalanobis", *plugin)
    done = run("fit", tmp_path / "plant", "--by", "folder", "-o", tmp_path / "m", "--json", *options)
    assert json.loads(done.stdout)["summary"]["fitted"] == 2
    scored = run("score", tmp_path / "m", tmp_path / "plant", "--json", *plugin)
    assert json.loads(scored.stdout)["summary"]["left_out"] == 0
