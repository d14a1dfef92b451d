"""A microphone through a PortAudio that the tests plug devices into; no sound card is in reach of them."""

from __future__ import annotations

import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from asd.errors import SourceError
from asd.plugin import Block, Source
from asd_listen.listen_command import listen
from asd_listen.sources import portaudio
from asd_listen.sources.microphone import Microphone
from waiting import PATIENCE, until

USB, INTERNAL, OUTPUT = "USB Microphone: Audio (hw:1,0)", "HDA Intel (hw:0,0)", "Speakers"


class PortAudioError(Exception):
    pass


class Fake:
    """What the source uses of ``sounddevice``: devices are listed once, until it is initialised anew."""

    PortAudioError = PortAudioError
    default = SimpleNamespace(device=(0, 1))

    def __init__(self) -> None:
        self.plugged: list[tuple[str, int]] = [(INTERNAL, 2), (OUTPUT, 0)]
        self.listed: list[tuple[str, int]] = []
        self.open: set[Any] = set()
        self.looks = 0
        self._initialize()
        fake = self

        class InputStream:
            def __init__(self, *, device: Any, samplerate: int, channels: int, callback: Any, **_: Any) -> None:
                self.name = fake.query_devices(device, "input")["name"]
                if samplerate == 12345:
                    raise PortAudioError("Error opening InputStream: Invalid sample rate [PaErrorCode -9997]", -9997)
                if self.name not in dict(fake.plugged):
                    raise PortAudioError("Error opening InputStream: Device unavailable [PaErrorCode -9985]", -9985)
                self.rate, self.channels, self.callback = samplerate, channels, callback
                self.hangs = False

            @property
            def active(self) -> bool:
                return self.hangs or self.name in dict(fake.plugged)

            def __enter__(self) -> Any:
                fake.open.add(self)
                self.ended = threading.Event()
                self.thread = threading.Thread(target=self.run, daemon=True)
                self.thread.start()

            def __exit__(self, *_: object) -> None:
                self.ended.set()
                self.thread.join()
                fake.open.remove(self)

            def run(self) -> None:
                times = SimpleNamespace(currentTime=1.0, inputBufferAdcTime=0.9)
                while not self.ended.wait(0.01):
                    if self.name in dict(fake.plugged):
                        count = self.rate // 10
                        self.callback(np.full((count, self.channels), 0.1, np.float32), count, times, None)

        self.InputStream = InputStream

    def query_devices(self, wanted: Any = None, kind: str = "") -> Any:
        rows = [
            {"name": name, "max_input_channels": channels, "default_samplerate": 48000.0}
            for name, channels in self.listed
        ]
        if not kind:
            return rows
        if wanted is None:
            return rows[0]
        if isinstance(wanted, int):
            if wanted >= len(rows):
                raise PortAudioError(f"Error querying device {wanted}")
            return rows[wanted]
        found = [each for each in rows if wanted in each["name"] and each["max_input_channels"]]
        if len(found) > 1:
            raise ValueError(f"Multiple input devices found for {wanted!r}:\n" + "\n".join(x["name"] for x in found))
        if not found:
            raise ValueError(f"No input device matching {wanted!r}")
        return found[0]

    def _terminate(self) -> None:
        assert not self.open, "PortAudio would end the streams of others"

    def _initialize(self) -> None:
        self.listed = list(self.plugged)
        self.looks += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Fake:
    fake = Fake()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr(portaudio, "_CARDS", tmp_path / "cards")
    portaudio._CARDS.write_text("0 [PCH]")
    monkeypatch.setattr("asd_listen.sources.microphone.CARDS", portaudio._Cards())
    monkeypatch.setattr("asd_listen.sources.microphone._LOOK", 0.05)
    monkeypatch.setattr("asd_listen.sources.microphone._DEAD", 0.3)
    return fake


def some(source: Source, count: int = 3) -> list[Block]:
    blocks = source.blocks()
    try:
        return [next(blocks) for _ in range(count)]
    finally:
        blocks.close()  # type: ignore[attr-defined]


def test_the_default_input_is_recorded(fake: Fake) -> None:
    found = some(Microphone())
    assert [(each.sample_rate, each.samples.shape) for each in found] == [(48000, (4800, 2))] * 3
    assert abs(found[0].time - time.time()) < PATIENCE
    assert fake.open == set()


@pytest.mark.parametrize("hangs", [False, True])
def test_a_microphone_that_is_unplugged_and_plugged_in_again(hangs: bool, fake: Fake) -> None:
    fake.plugged.append((USB, 1))
    fake._initialize()
    source = Microphone(device="USB")
    blocks = source.blocks()
    assert next(blocks).samples.shape[1] == 1
    for stream in fake.open:
        stream.hangs = hangs  # some drivers say that they record, and deliver nothing
    fake.plugged.pop()
    with pytest.raises(SourceError, match=r"the device has stopped; is it plugged in\?"):
        for _ in blocks:
            pass
    assert fake.open == set()
    with pytest.raises(SourceError, match=r"matching 'USB'; inputs here: 'HDA Intel .*'; is it plugged"):
        some(source)
    fake.plugged.append((USB, 1))
    assert len(some(source)) == 3


def test_a_new_look_lets_other_microphones_go_on(fake: Fake) -> None:
    one = Microphone().blocks()
    next(one)
    other = Microphone(device="USB")
    for _ in range(2):
        with pytest.raises(SourceError):
            some(other)
    looks = fake.looks  # nothing was plugged in: the one that records is left alone
    fake.plugged.append((USB, 1))
    portaudio._CARDS.write_text("0 [PCH] 1 [USB]")
    going, stop = [], threading.Event()

    def go_on() -> None:
        for each in one:
            going.append(each)
            if stop.is_set():
                break
        one.close()  # type: ignore[attr-defined]

    thread = threading.Thread(target=go_on)
    thread.start()
    assert len(some(other)) == 3
    had = len(going)
    until(lambda: len(going) > had)
    stop.set()
    thread.join(PATIENCE)
    assert fake.looks == looks + 1


@pytest.mark.parametrize(
    ("parameters", "permanent", "message"),
    [
        ({"sample_rate": 12345}, True, "Invalid sample rate"),
        ({"device": "H"}, True, "Multiple input devices found for 'H'"),
        ({"device": "7"}, False, "Error querying device 7"),
        ({"device": "none"}, False, "No input device matching 'none'"),
    ],
)
def test_what_a_microphone_cannot_be(parameters: dict[str, Any], permanent: bool, message: str, fake: Fake) -> None:
    fake.plugged.append(("HDMI (hw:3,0)", 2))
    fake._initialize()
    with pytest.raises(SourceError) as caught:
        some(Microphone(**parameters))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.permanent is permanent


def test_the_inputs_are_listed(fake: Fake) -> None:
    fake.plugged.append((USB, 1))
    fake._initialize()
    done = CliRunner().invoke(listen, ["--devices"])
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        f"  0  {INTERNAL}, 2 ch., 48000 Hz (the default)",
        f"  2  {USB}, 1 ch., 48000 Hz",
        'Next: asd listen MODEL --source microphone --source.device "NAME OR A PART OF IT"',
    ]


def test_no_input_at_all(fake: Fake) -> None:
    fake.plugged = [(OUTPUT, 0)]
    fake._initialize()
    done = CliRunner().invoke(listen, ["--devices"])
    assert isinstance(done.exception, SourceError)
    assert "no sound card of this computer has an input; plug one in" in str(done.exception)
