"""Resume an interrupted training: the last state of a training as one safetensors file in the cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from asd.plugin import Float32, cache_folder

SECONDS_BETWEEN = 5.0
"""Least time between two checkpoints: a short epoch is cheaper to repeat than to write."""

_FORMAT = 2
_ABANDONED_SECONDS = 30 * 24 * 3600.0
_log = logging.getLogger("asd")


class Checkpoint:
    """Where one training keeps its last state.

    Several processes may run the same training: each writes beside the file and renames, so that a reader sees one
    whole state or none, and a state of the one is a state of the other.

    Parameters
    ----------
    path : Path
        The file; it and its folder come into being with the first save.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last = time.monotonic()
        self._failed = False

    @classmethod
    def of_training(cls, name: str, features: Float32, description: Mapping[str, Any]) -> Checkpoint:
        """Return the checkpoint that belongs to training on `features` as `description` (plain JSON values) says."""
        text = json.dumps(
            [_FORMAT, name, torch.__version__, features.dtype.str, features.shape, description],
            sort_keys=True,
            default=float,
        )
        digest = hashlib.sha256(text.encode())
        digest.update(features.data)
        return cls(cache_folder() / "checkpoints" / f"{name}-{digest.hexdigest()[:32]}.safetensors")

    def load(self) -> dict[str, torch.Tensor] | None:
        """Return the last state, or None if there is none that can be read."""
        _remove_abandoned(self.path.parent)
        try:
            return safetensors.torch.load(self.path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, safetensors.SafetensorError) as error:
            _log.warning("%s: unusable checkpoint (%s); the training starts over", self.path, error)
            return None

    def save_if_due(self, state: Callable[[], Mapping[str, torch.Tensor]]) -> None:
        """Keep what `state` returns if the last one is `SECONDS_BETWEEN` old."""
        if time.monotonic() - self._last < SECONDS_BETWEEN:
            return
        try:
            _write(self.path, safetensors.torch.save({name: t.cpu().contiguous() for name, t in state().items()}))
        except OSError as error:
            if not self._failed:
                _log.warning(
                    "%s: no checkpoint can be written (%s); the training goes on, but could not be resumed after a "
                    "kill: free space or set ASD_CACHE to another folder",
                    self.path.parent,
                    error.strerror,
                )
            self._failed = True
        self._last = time.monotonic()

    def remove(self) -> None:
        """Delete the file: the training is over."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _remove_abandoned(folder: Path) -> None:
    """Delete checkpoints of trainings that were not continued for a month."""
    oldest = time.time() - _ABANDONED_SECONDS
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.stat().st_mtime < oldest:
                path.unlink()
