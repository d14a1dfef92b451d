"""Compute the golden arrays of the tests with Essentia itself (essentia-tensorflow 2.1b6.dev1389 made those here).

    python plugins/asd-essentia/tests/make_golden.py

The sound is made here: tones, a sweep, noise and clicks, 3.5 s at 16 kHz. It is stored with what Essentia makes of it:
``spectrogram``, TensorflowInputMusiCNN of the frames ``[256 i, 256 i + 512)``, and for each model, window length and
layer TensorflowPredictMusiCNN of the whole sound. Essentia's first frame lies half before the sound: zeros are put
before it, so that its second patch is the first window, and its first patch is left out.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

RATE, FRAME, HOP, BANDS = 16000, 512, 256, 96
WINDOWS = {1: (62, 31), 3: (187, 93)}
NODES = {
    "mean-pool": ("model/moments/Squeeze", 753),
    "max-pool": ("model/Max", 753),
    "penultimate": ("model/dense/BiasAdd", 200),
    "taggram": ("model/Sigmoid", 50),
}
HERE = Path(__file__).resolve().parent
GRAPHS = HERE.parent / "src" / "asd_essentia" / "weights"


def sound() -> np.ndarray:
    """Return int16 samples of much variety."""
    random = np.random.default_rng(20201206)
    time = np.arange(int(3.5 * RATE)) / RATE
    tones = 0.2 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 1760 * time) * (time > 1)
    sweep = 0.3 * np.sin(2 * np.pi * (50 + 900 * time) * time) * (time > 2)
    noise = random.normal(size=len(time)) * 0.05 * (1 + np.sin(2 * np.pi * 3 * time))
    clicks = np.where(random.random(len(time)) > 0.9995, 0.5, 0.0)
    return np.round(32767 * np.clip(tones + sweep + noise + clicks, -1, 1)).astype(np.int16)


def main() -> None:
    """Compute and write."""
    import essentia

    essentia.log.infoActive = False
    from essentia import standard

    stored = sound()
    signal = (stored / 32768).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(signal, FRAME)[::HOP]
    mel = standard.TensorflowInputMusiCNN()
    arrays = {"sound": stored, "spectrogram": np.stack([mel(frame) for frame in frames])}
    for model in ("mtt", "msd"):
        for seconds, (patch, hop) in WINDOWS.items():
            padded = np.concatenate([np.zeros((hop - 1) * HOP, np.float32), signal])
            count = (len(frames) - patch) // hop + 1
            for layer, (node, size) in NODES.items():
                network = standard.TensorflowPredictMusiCNN(
                    graphFilename=str(GRAPHS / f"{model}-musicnn-1.pb"),
                    output=node,
                    patchSize=patch,
                    patchHopSize=hop,
                    batchSize=8,
                )
                arrays[f"{model}_{seconds}_{layer}"] = network(padded).reshape(-1, size)[1 : count + 1]
    np.savez_compressed(HERE / "data" / "musicnn.npz", **arrays)


if __name__ == "__main__":
    main()
