"""What every front end of this distribution promises."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from asd.plugin import Audio, Float32, Frontend, Representation
from asd_frontends.identity import Identity
from asd_frontends.image import MelImage
from asd_frontends.patch import MelPatch
from asd_frontends.stack import MelStack
from asd_frontends.waveform import Waveform

FRONTENDS: list[tuple[type[Frontend], dict[str, Any]]] = [
    (MelImage, {}),
    (MelImage, {"size": 96, "frames": 33, "frame_hop": 20, "n_mels": 40, "normalise": "none"}),
    (MelPatch, {}),
    (MelPatch, {"reference": "patch"}),
    (MelPatch, {"scaling": "pcen"}),
    (MelPatch, {"n_fft": 2048, "hop_length": 512, "f_min": 100.0, "f_max": 7000.0}),
    (MelStack, {}),
    (MelStack, {"frames": 3, "frame_hop": 2, "n_mels": 32}),
    (Waveform, {}),
    (Waveform, {"window": 0.3, "hop": 0.7}),
]
each_frontend = pytest.mark.parametrize(("cls", "parameters"), FRONTENDS)


@each_frontend
def test_windows_have_the_declared_shape(cls: type[Frontend], parameters: dict[str, Any], sweep: Float32) -> None:
    frontend = cls(**parameters)
    windows = frontend(Audio(sweep[np.newaxis], 16000))
    assert frontend.window_length is not None
    count = 1 + (len(sweep) - frontend.window_length) // frontend.window_hop
    assert windows.values.shape == (count, *frontend.produces.shape)
    assert windows.values.dtype == np.float32
    assert windows.values.flags.writeable
    assert frontend.produces.sample_rate == 16000
    np.testing.assert_allclose(windows.start, np.arange(count) * frontend.window_hop / 16000)
    assert windows.start.dtype == np.float64
    assert windows.duration == frontend.window_length / 16000


@each_frontend
def test_a_window_depends_on_its_own_samples_alone(
    cls: type[Frontend], parameters: dict[str, Any], sweep: Float32
) -> None:
    frontend = cls(**parameters)
    whole = frontend(Audio(sweep[np.newaxis], 16000)).values
    assert frontend.window_length is not None
    for index in (0, 1, len(whole) // 2, len(whole) - 1):
        first = index * frontend.window_hop
        alone = frontend(Audio(sweep[np.newaxis, first : first + frontend.window_length], 16000)).values
        assert len(alone) == 1
        # A level on the border between two colours may round to either: a 256th of the range.
        tolerance = 0.05 if isinstance(frontend, MelImage) else 1e-4
        np.testing.assert_allclose(alone[0], whole[index], atol=tolerance)
        assert np.mean(np.abs(alone[0] - whole[index])) < 1e-5


@each_frontend
def test_parameters_come_back(cls: type[Frontend], parameters: dict[str, Any]) -> None:
    frontend = cls(**parameters)
    assert parameters.items() <= frontend.get_params().items()
    assert cls(**frontend.get_params()).get_params() == frontend.get_params()


@each_frontend
def test_silence_gives_finite_values(cls: type[Frontend], parameters: dict[str, Any]) -> None:
    windows = cls(**parameters)(Audio(np.zeros((1, 40_000), np.float32), 16000))
    assert len(windows.values)
    assert np.isfinite(windows.values).all()


def test_defaults_of_the_papers() -> None:
    assert MelImage().produces == Representation("image", (3, 224, 224), 16000)
    assert (MelImage().window_length, MelImage().window_hop) == (63 * 256 + 1024, 32 * 256)
    assert MelPatch().produces == Representation("patch", (64, 64), 16000)
    assert MelStack().produces == Representation("vector", (320,), 16000)
    assert Waveform().produces == Representation("waveform", (16000,), 16000)
    assert Waveform().window_hop == 8000
    assert Waveform(sample_rate=48000).produces == Representation("waveform", (48000,), 48000)


def test_stack_holds_neighbouring_frames(sweep: Float32) -> None:
    audio = Audio(sweep[np.newaxis], 16000)
    single, stacked = MelStack(frames=1)(audio).values, MelStack()(audio).values
    np.testing.assert_array_equal(stacked[7], single[7:12].ravel())


def test_waveform_windows_are_the_samples(sweep: Float32) -> None:
    windows = Waveform()(Audio(sweep[np.newaxis], 16000)).values
    np.testing.assert_array_equal(windows[3], sweep[24000:40000])


def test_identity_gives_rows() -> None:
    identity = Identity()
    assert identity.consumes.accepts(Representation("image", (3, 8, 8), 16000))
    assert identity.dimension is None
    values = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
    rows = identity.embed(values)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, values.reshape(2, 12))
    assert identity.embed(np.zeros((0, 3, 4), np.float32)).shape == (0, 12)


def test_identity_takes_a_tensor_of_another_library() -> None:
    torch = pytest.importorskip("torch")
    rows = Identity().embed(torch.arange(12.0).reshape(2, 2, 3))
    np.testing.assert_array_equal(rows, np.arange(12.0).reshape(2, 6))


def test_front_ends_need_no_heavy_library() -> None:
    program = (
        "import sys, numpy\n"
        "from asd.plugin import Audio, create, registry\n"
        "for found in registry().of_kind('frontend'):\n"
        "    if found.plugin.distribution == 'asd-frontends':\n"
        "        frontend = create('frontend', found.spec.name)\n"
        "        frontend(Audio(numpy.ones((1, 5 * frontend.sample_rate), 'float32'), frontend.sample_rate))\n"
        "print([name for name in ('torch', 'scipy', 'sklearn', 'matplotlib', 'librosa') if name in sys.modules])"
    )
    environment = {**os.environ, "ASD_PLUGINS": "asd-frontends"}
    line = [sys.executable, "-c", program]
    result = subprocess.run(line, capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.strip() == "[]"
