"""The network of the openl3 package itself, computed by TensorFlow; runs in a worker process."""

from __future__ import annotations

import importlib
import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from asd.errors import AsdError
from asd.plugin import Float32
from asd_openl3.hdf5 import read_weights, uncompressed

_BATCH_SIZE = 32  # the package's own


class PackageEngine:
    """The Keras model that openl3 builds, without its spectrogram layers.

    Parameters
    ----------
    weights : Path
        A weight file, plain or compressed.
    representation : str
        mel256, mel128 or linear.
    embedding_size : int
        512 or 6144.

    Raises
    ------
    AsdError
        If openl3 or what it needs is not installed, or the file holds no weights of OpenL3.
    """

    def __init__(self, weights: Path, representation: str, embedding_size: int) -> None:
        read_weights(weights)  # Keras' own errors fill a screen
        models = _import_models()
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "weights.h5"
            plain.write_bytes(uncompressed(weights))
            self._model = models.load_audio_embedding_model_from_path(
                str(plain), representation, embedding_size, frontend="librosa"
            )

    def __call__(self, values: Any) -> Float32:
        """Return embeddings of spectrograms (n, bands, frames)."""
        pictures = np.asarray(values)[..., np.newaxis]
        embeddings: Float32 = self._model.predict(pictures, batch_size=_BATCH_SIZE, verbose=0)
        return embeddings


def bundled_weights(content: str, representation: str) -> Path:
    """Return the weight file inside the openl3 package, without importing it."""
    found = importlib.util.find_spec("openl3")
    if found is None or not found.submodule_search_locations:
        raise _missing("it is not installed")
    return Path(found.submodule_search_locations[0]) / f"openl3_audio_{representation}_{content}.h5"


def _import_models() -> Any:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # openl3 was written for Keras 2
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        return importlib.import_module("openl3.models")
    except ImportError as error:
        raise _missing(str(error)) from error


def _missing(reason: str) -> AsdError:
    return AsdError(
        f"the engine openl3 needs the package openl3 ({reason}): pip install --no-build-isolation openl3 tf-keras, or "
        "use --extractor.engine torch, which needs nothing more"
    )
