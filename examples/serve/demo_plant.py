"""Three invented machines with a past, to try ``asd serve`` on: one healthy, one with an alarm, one heard for a minute.

python demo_plant.py demo
asd serve --listen demo/plant.toml

The listener's sources play the recordings in ``demo/sound`` for ever, in real time.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import soundfile

import asd
from asd.plugin import Float32
from asd_listen import Listener, explainer, read_settings, settings_from

RATE = 16_000
MACHINES = ("pump 1", "fan", "mill")
_PAST = {"pump 1": 420, "fan": 420, "mill": 45}
"""Seconds of sound that each has heard."""
_FAULT = 330
"""Second of its past at which the fan begins to whine."""


def hum(seconds: float, hertz: float, seed: int, fault_from: float | None = None) -> Float32:
    """Return the sound of a machine, float32 of shape (n,): a throbbing hum in noise; a fault is a whine."""
    rng = np.random.default_rng(seed)
    moment = np.arange(round(seconds * RATE)) / RATE
    sound = sum(0.1 / order * np.sin(2 * np.pi * hertz * order * moment) for order in (1, 2, 3, 5))
    sound *= 1 + 0.05 * np.sin(2 * np.pi * 0.31 * moment)
    if fault_from is not None:
        sound += 0.03 * np.sin(2 * np.pi * 3500 * moment) * (moment >= fault_from)
    noisy: Float32 = (sound + rng.normal(0, 0.02, len(moment))).astype(np.float32)
    return noisy


def make(folder: Path) -> Path:
    """Make models, recordings, a history with evidence, and settings in `folder`, and return the settings' file."""
    sounds = folder / "sound"
    for place in (sounds, folder / "models"):
        place.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(MACHINES):
        hertz = 97.0 + 20 * number
        training = hum(60, hertz, number)
        for clip in range(30):
            path = folder / "training" / name / f"{clip:02d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, training[2 * clip * RATE : (2 * clip + 1) * RATE], RATE)
        model = asd.fit(
            folder / "training" / name,
            extractor="band-levels", detector="deviation", embedding_pooling="mean", cache=False,
        )  # fmt: skip
        model.save(folder / "models" / f"{name}.asd")
        past = _PAST[name]
        fault = _FAULT if name == "fan" else None
        soundfile.write(sounds / f"{name} before.wav", hum(past, hertz, 100 + number, fault), RATE)
        soundfile.write(sounds / f"{name}.wav", hum(120, hertz, 200 + number, 60.0 if name == "fan" else None), RATE)
    settings = folder / "plant.toml"
    settings.write_text(_settings(folder.absolute()))
    _listen_to_the_past(folder)
    read_settings(settings)
    return settings


def _settings(folder: Path) -> str:
    head = f"""\
# A plant of three machines: asd serve --listen {folder / "plant.toml"}
folder = "{folder / "history"}"
false_alarms = "1/month"      # for each machine
hop = 1.0                     # seconds from one clip to the next

[evidence]
healthy_per_day = 288         # many, since this plant is young
"""
    tables = [
        f"""
[[source]]
name = "{name}"
kind = "file"
path = "{folder / "sound" / f"{name}.wav"}"
repeat = 0                    # for ever
model = "{folder / "models" / f"{name}.asd"}"
"""
        for name in MACHINES
    ]
    return head + "".join(tables)


def _listen_to_the_past(folder: Path) -> None:
    """Let a listener hear what was before, as fast as it can judge."""
    began = time.time() - max(_PAST.values()) - 60
    sources = [
        {
            "name": name,
            "kind": "file",
            "path": str(folder / "sound" / f"{name} before.wav"),
            "speed": 0.0,
            "start": time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(began)),
            "model": str(folder / "models" / f"{name}.asd"),
        }
        for name in MACHINES
    ]
    settings = settings_from(
        {"folder": str(folder / "history"), "evidence": {"healthy_per_day": 288}, "source": sources}
    )

    def load(path: Path) -> asd.Model:
        return asd.Model.load(path, cache=False)

    with Listener(settings, load, lambda text, severity: None, explainer(settings, load)) as listener:
        listener.run()


if __name__ == "__main__":
    print(f"asd serve --listen {make(Path(sys.argv[1]))}")
