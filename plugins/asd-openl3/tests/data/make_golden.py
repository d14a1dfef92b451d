"""Write golden.npz with the openl3 package itself: python make_golden.py, where openl3 0.4.2 and h5py are installed.

It holds, for each spectrogram, every 8th band and frame of the first window's, and the embeddings of
`conftest.make_sound` with `conftest.seeded_tensors`, every half second; of size 6144 only the first window's.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

os.environ["TF_USE_LEGACY_KERAS"] = "1"
TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))


def main() -> None:
    """Compute and write."""
    import openl3
    from conftest import GOLDEN, make_sound, seeded_tensors, write_keras
    from openl3 import models

    arrays = {}
    with tempfile.TemporaryDirectory() as folder:
        file = write_keras(Path(folder) / "seeded.h5", seeded_tensors())
        for representation in ("mel256", "mel128", "linear"):
            for size in (512, 6144):
                model = models.load_audio_embedding_model_from_path(str(file), representation, size)
                for center in (True, False):
                    name = f"{representation}_{size}_{'center' if center else 'nocenter'}"
                    values = openl3.get_audio_embedding(
                        make_sound(), 48000, model=model, center=center, hop_size=0.5, verbose=0
                    )[0]
                    arrays[name] = values if size == 512 else values[:1]
            whole = model.layers[1](make_sound()[np.newaxis, np.newaxis, :48000]).numpy()[0, :, :, 0]
            arrays[f"{representation}_spectrogram"] = whole[::8, ::8]
    np.savez_compressed(GOLDEN, **arrays)


if __name__ == "__main__":
    main()
