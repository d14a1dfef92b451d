"""Compute golden.npz with Google's own code: TensorFlow, and tensorflow/models, research/audioset.

    pip install tensorflow-cpu tf_keras tf_slim h5py torch
    TF_USE_LEGACY_KERAS=1 PYTHONPATH=models/research/audioset/yamnet:models/research/audioset/vggish:… \
        python make_golden.py golden.npz

What is in golden.npz was computed with TensorFlow 2.21.0 and tf_keras 2.21.0 on seeded random weights.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SECONDS = 1.5


def yamnet(audio: Any, weights: Path) -> dict[str, Any]:
    """Return YAMNet's patches (hop 0.48 s) and embeddings."""
    import features
    import h5py
    import params
    import tensorflow as tf
    import yamnet as reference
    from tf_keras import Model, layers

    options = params.Params()
    _, patches = features.waveform_to_log_mel_spectrogram_patches(tf.constant(audio), options)
    inputs = layers.Input((options.patch_frames, options.patch_bands))
    embeddings = reference.yamnet(inputs, options)[1]
    model = Model(inputs, embeddings)
    with h5py.File(weights) as file:
        for layer in model.layers:
            layer.set_weights([file[f"{layer.name}/{variable.name}"][()] for variable in layer.weights])
    return {"yamnet_patches": patches.numpy(), "yamnet_embeddings": model.predict(patches, verbose=0)}


def vggish(audio: Any, weights: Path) -> dict[str, Any]:
    """Return VGGish's patches (hop 0.96 s, and 0.48 s for embeddings)."""
    import mel_features
    import tensorflow.compat.v1 as tf
    import torch
    import vggish_slim

    log_mel = mel_features.log_mel_spectrogram(
        audio.astype(np.float64),
        audio_sample_rate=16000,
        log_offset=0.01,
        window_length_secs=0.025,
        hop_length_secs=0.010,
        num_mel_bins=64,
        lower_edge_hertz=125,
        upper_edge_hertz=7500,
    )
    patches = mel_features.frame(log_mel, 96, 48).astype(np.float32)
    tensors = list(torch.load(weights, weights_only=True).values())
    with tf.Graph().as_default(), tf.Session() as session:
        vggish_slim.define_vggish_slim(training=False)
        for variable, tensor in zip(tf.global_variables(), tensors, strict=True):
            array = tensor.numpy()
            variable.load(array.transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[array.ndim]), session)
        embeddings = session.run("vggish/embedding:0", {"vggish/input_features:0": patches})
    return {"vggish_patches": patches, "vggish_embeddings": embeddings}


def main() -> None:
    """Write the file that the first argument names."""
    from conftest import tone_in_noise, write_vggish, write_yamnet

    audio = tone_in_noise(16000, SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        arrays = yamnet(audio, write_yamnet(Path(folder, "yamnet.h5")))
        arrays |= vggish(audio, write_vggish(Path(folder, "vggish.pth")))
    np.savez_compressed(sys.argv[1], **arrays)


if __name__ == "__main__":
    main()
