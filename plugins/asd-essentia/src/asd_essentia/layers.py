"""The layers of MusiCNN whose activations can be embeddings, for both engines.

Activations are averaged over the window's frames, so the layers before the pooling are parts of its output.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, get_args

from asd.errors import ConfigError
from asd.plugin import Extractor, digest_of, locate
from asd_essentia.plugin import Layer, Model
from asd_registry import WeightFile

BASE_SIZES = {"mean-pool": 753, "max-pool": 753, "penultimate": 200, "taggram": 50}
"""What an engine computes, and its length."""

PARTS = {
    "timbral": slice(0, 408),
    "temporal": slice(408, 561),
    "cnn1": slice(561, 625),
    "cnn2": slice(625, 689),
    "cnn3": slice(689, 753),
}
"""Positions of earlier layers' means in the output of the mean pooling."""


class LayeredMusicnn(Extractor):
    """Base of both engines: which MusiCNN, which of its layers, and its weight file.

    Parameters
    ----------
    model : {"mtt", "msd"}
        What it was trained on: MagnaTagATune or the Million Song Dataset.
    layer : str
        Names of layers, separated by commas; their activations are concatenated.
    """

    _files: ClassVar[Mapping[Model, WeightFile]]
    """The engine's weight file of each model."""

    def __init__(self, *, model: Model = "mtt", layer: str = "mean-pool") -> None:
        self.model = model
        self.layer = layer
        if model not in get_args(Model):
            raise ConfigError(f"there is no MusiCNN {model!r}; there are {' and '.join(get_args(Model))}")
        parse(layer)

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return dimension(parse(self.layer))

    def weight_hashes(self) -> dict[str, str]:
        """Return the SHA-256 of the weight file by its name."""
        return dict(self._hashes)

    def _file(self) -> Path:
        return locate(self._files[self.model])

    @functools.cached_property
    def _hashes(self) -> dict[str, str]:
        path = self._file()
        return {path.name: digest_of(path)}


def parse(layer: str) -> tuple[str, ...]:
    """Return the layers that a comma-separated list names.

    Raises
    ------
    ConfigError
        If it is empty or names a layer that does not exist.
    """
    names = tuple(name.strip() for name in layer.split(","))
    for name in names:
        if name not in get_args(Layer):
            raise ConfigError(f"MusiCNN has no layer {name!r}; it has {', '.join(get_args(Layer))}")
    return names


def dimension(names: tuple[str, ...]) -> int:
    """Return the length of the concatenated activations."""
    return sum(BASE_SIZES[name] if name in BASE_SIZES else PARTS[name].stop - PARTS[name].start for name in names)


def needed(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return what an engine must compute for the layers `names`, each once."""
    return tuple(dict.fromkeys(name if name in BASE_SIZES else "mean-pool" for name in names))


def picked(names: tuple[str, ...], computed: Mapping[str, Any]) -> list[Any]:
    """Return the activations of the layers, (windows, size) each, from what an engine `computed`."""
    return [computed[name] if name in BASE_SIZES else computed["mean-pool"][:, PARTS[name]] for name in names]
