"""A microphone through PortAudio, ALSA and a sound server: all real but the air, which is a sink of the server."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from ctypes.util import find_library
from pathlib import Path
from typing import Any

import pytest
import soundfile
from listening import RATE, healthy, write

from waiting import PATIENCE, until

_PLUGIN = "/usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so"


class Card:
    """A sound server with one device, which records what is played to it."""

    def __init__(self, folder: Path) -> None:
        self.playing: subprocess.Popen[bytes] | None = None
        socket = f"unix:{folder}/native"
        (folder / "default.pa").write_text(
            f"load-module module-native-protocol-unix socket={folder}/native auth-anonymous=1\n"
        )
        (folder / "asound.conf").write_text(
            f'pcm.!default {{ type pulse server "{socket}" device "machine.monitor" }}\n'
            f'pcm.machine {{ type pulse server "{socket}" device "machine.monitor" hint {{ show on }} }}\n'
        )
        self.environment = {
            **os.environ,
            "ALSA_CONFIG_PATH": f"/usr/share/alsa/alsa.conf:{folder}/asound.conf",
            "PULSE_SERVER": socket,
            **dict.fromkeys(("PULSE_RUNTIME_PATH", "XDG_RUNTIME_DIR", "HOME"), str(folder)),
        }
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "-F", str(folder / "default.pa")]
        self.process = subprocess.Popen(command, env=self.environment, stderr=subprocess.DEVNULL)
        until((folder / "native").exists)
        self.plug()

    def plug(self) -> None:
        self.module = self._control(
            "load-module", "module-null-sink", "sink_name=machine", f"rate={RATE}", "channels=1"
        )

    def unplug(self) -> None:
        self._control("unload-module", self.module)

    def play(self, sound: Path) -> subprocess.Popen[bytes]:
        """Play a recording to the device, in place of another one."""
        self.silence()
        self.playing = subprocess.Popen(["paplay", "--device=machine", str(sound)], env=self.environment)
        return self.playing

    def silence(self) -> None:
        if self.playing is not None:
            self.playing.kill()
            self.playing.wait()

    def _control(self, *words: str) -> str:
        done = subprocess.run(["pactl", *words], env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    programs = [shutil.which("pulseaudio"), shutil.which("paplay"), find_library("portaudio")]
    parts = [*programs, next(Path("/").glob(_PLUGIN.lstrip("/")), None)]
    if not all(parts):
        pytest.skip("no sound server (apt-get install pulseaudio pulseaudio-utils libasound2-plugins libportaudio2)")
    made = Card(tmp_path)
    yield made
    made.silence()
    made.process.terminate()
    made.process.wait(PATIENCE)


def asd(card: Card, *words: object, **more: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from asd.command import main; main()", *map(str, words)]
    return subprocess.Popen(
        command, env=card.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


STANDING = "SELECT count(*) FROM conditions WHERE name = 'disconnected' AND over IS NULL"


def count(history: Path, question: str) -> int:
    if not history.exists():
        return 0
    with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
        try:
            return int(connection.execute(question).fetchone()[0])
        except sqlite3.OperationalError:  # it is being made
            return 0


@pytest.mark.slow
def test_a_machine_is_heard_by_a_microphone(card: Card, model: Path, tmp_path: Path) -> None:
    listed, _ = asd(card, "listen", "--devices").communicate(timeout=PATIENCE)
    assert re.search(r"^ +\d+  machine, \d+ ch\., \d+ Hz", listed, re.MULTILINE)
    microphone = f"--source microphone --source.device machine --source.sample_rate {RATE} --source.channels 1".split()
    card.play(write(tmp_path / "healthy.wav", healthy(120.0)))
    recorder = asd(card, "listen", "--record-healthy", "3s", "-o", tmp_path / "h", "--clip", "1", *microphone)
    said, errors = recorder.communicate(timeout=PATIENCE)
    assert recorder.returncode == 0, said + errors
    recorded = [soundfile.read(each) for each in sorted((tmp_path / "h").rglob("*.flac"))]
    assert [(rate, len(sound)) for sound, rate in recorded] == [(RATE, RATE)] * 3
    assert all(0.05 < sound.std() < 0.3 for sound, _ in recorded)  # the hum, not silence

    card.play(tmp_path / "healthy.wav")
    listener = asd(card, "listen", model, *microphone, "--name", "pump", "--folder", tmp_path / "L")
    try:
        history = tmp_path / "L" / "history.sqlite"
        until(lambda: count(history, "SELECT count(*) FROM verdicts") >= 3)
        card.unplug()
        until(lambda: count(history, STANDING) == 1)
        card.plug()
        card.play(tmp_path / "healthy.wav")
        until(lambda: count(history, STANDING) == 0)
        heard = count(history, "SELECT count(*) FROM verdicts")
        until(lambda: count(history, "SELECT count(*) FROM verdicts") >= heard + 2)
    finally:
        listener.send_signal(signal.SIGTERM)
        said, errors = listener.communicate(timeout=PATIENCE)
    assert listener.returncode == 0, said + errors
    assert "the device has stopped; is it plugged in?" in said
