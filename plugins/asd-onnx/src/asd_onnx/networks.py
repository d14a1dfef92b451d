"""Extractors: the networks whose weights are inside this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from asd.errors import AsdError, ConfigError
from asd.plugin import Float32, Representation, check_weights, one_of
from asd_onnx import catalogue
from asd_onnx.catalogue import Embedded
from asd_onnx.embedded import EmbeddedExtractor

EfficientATPool = Literal["global", "time"]
ImagePool = Literal["default", "average", "max", "2x2", "flatten"]

_EFFICIENTAT_STAGES = (
    (8, 64), (8, 64), (16, 32), (16, 32), (16, 16), (16, 16), (16, 16), (32, 8), (32, 8), (32, 8), (32, 8), (48, 8),
    (48, 8), (64, 4), (64, 4), (64, 4), (384, 4),
)  # fmt: skip
"""Channels and rows of frequency of each stage."""

_EFFICIENTAT_FRAMES = 32
"""Frames that become one step of the last stage: a shorter window would mostly show padding."""

_MUSICNN_LAYERS = {
    "mean-pool": 753, "max-pool": 753, "penultimate": 200, "taggram": 50, "cnn1": 64, "cnn2": 64, "cnn3": 64,
    "timbral": 408, "temporal": 153,
}  # fmt: skip
"""Length of each layer's activations."""

_SQUEEZENET_MAPS = {
    "features.1": (96, 109), "features.2": (96, 54), "features.3": (128, 54), "features.4": (128, 54),
    "features.5": (256, 54), "features.6": (256, 27), "features.7": (256, 27), "features.8": (384, 27),
    "features.9": (384, 27), "features.10": (512, 27), "features.11": (512, 13), "features.12": (512, 13),
}  # fmt: skip
"""Channels and height of each layer's map."""

_YAMNET_CHANNELS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
_AISFX_CHANNELS = (64, 128, 256, 512)

_AISFX_FRAMES = 8
"""Frames that become one step of the last layer."""


class EfficientAT(EmbeddedExtractor):
    """Activations of EfficientAT mn04_as, a MobileNetV3 that was trained to tag AudioSet's sounds.

    Parameters
    ----------
    layer : int
        Stage whose activations are taken, 0 to 16, the last.
    pool : {"global", "time"}
        Mean over frequency and time, or over time alone (frequency is kept, as GenRep does).
    weights : str
        default (those of this package), or, with PyTorch, a file, a URL, or random.
    weights_sha256 : str or None
        SHA-256 that such a file must have, or its first 8 digits or more.
    seed : int
        Determines random weights.

    References
    ----------
    Schmid et al. 2023, arXiv:2211.04772; pooling over time: GenRep, arXiv:2409.05035.
    """

    def __init__(
        self,
        *,
        layer: int = len(_EFFICIENTAT_STAGES) - 1,
        pool: EfficientATPool = "global",
        weights: str = "default",
        weights_sha256: str | None = None,
        seed: int = 0,
    ) -> None:
        self.layer = _checked_layer(self._network, layer, range(len(_EFFICIENTAT_STAGES)))
        self.pool = one_of(self, "pool", pool, get_args(EfficientATPool))
        self.weights = weights
        self.weights_sha256 = weights_sha256
        self.seed = seed
        check_weights(weights, ("default", "random"), sha256=weights_sha256)

    @property
    def consumes(self) -> Representation:
        """Log-mel windows (128 bands, any number of frames)."""
        return Representation("efficientat-mel", (128, None), 32000)

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        channels, rows = _EFFICIENTAT_STAGES[self.layer]
        return channels if self.pool == "global" else channels * rows

    @property
    def _network(self) -> Embedded:
        return catalogue.EFFICIENTAT

    @property
    def _outputs(self) -> Sequence[str]:
        return (f"layer{self.layer}_{self.pool}",)

    @property
    def _only_in_torch(self) -> str | None:
        return _other_weights(self.weights, self.weights_sha256)

    def _embed(self, windows: Float32) -> Float32:
        if windows.shape[-1] < _EFFICIENTAT_FRAMES:
            raise AsdError(
                f"EfficientAT takes windows of at least {_EFFICIENTAT_FRAMES} frames (0.32 s), got "
                f"{windows.shape[-1]}; use longer ones"
            )
        return super()._embed(windows)


class Musicnn(EmbeddedExtractor):
    """Activations of the music tagger MusiCNN, as in arXiv:2012.06282.

    Parameters
    ----------
    model : {"mtt", "msd"}
        What it was trained on: MagnaTagATune or the Million Song Dataset.
    layer : str
        mean-pool (753 values), max-pool (753), penultimate (200, before its rectifier), taggram (50 tags), or the
        mean over time of timbral (408), temporal (153), cnn1, cnn2 or cnn3 (64 each); several, separated by commas,
        are concatenated.

    References
    ----------
    Pons and Serra 2019, arXiv:1909.06654; equal to Essentia's TensorflowPredictMusiCNN on the same windows.
    """

    def __init__(self, *, model: Literal["mtt", "msd"] = "mtt", layer: str = "mean-pool") -> None:
        self.model = one_of(self, "model", model, tuple(catalogue.MUSICNN))
        self.layer = layer
        for name in self._layers:
            if name not in _MUSICNN_LAYERS:
                raise ConfigError(f"MusiCNN has no layer {name!r}; it has {', '.join(_MUSICNN_LAYERS)}")

    @property
    def consumes(self) -> Representation:
        """Log mel magnitudes (frames, 96) of any number of frames."""
        return Representation("musicnn-mel", (None, 96), 16000)

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return sum(_MUSICNN_LAYERS[name] for name in self._layers)

    @property
    def _layers(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.layer.split(","))

    @property
    def _network(self) -> Embedded:
        return catalogue.MUSICNN[self.model]

    @property
    def _outputs(self) -> Sequence[str]:
        return self._layers

    def _embed(self, windows: Float32) -> Float32:
        if windows.shape[1] < 1:
            raise AsdError(f"musicnn-{self.model} takes windows of at least one frame, got none; use longer ones")
        return super()._embed(windows)


class SqueezeNet(EmbeddedExtractor):
    """Activations of SqueezeNet 1.0, an image network trained on ImageNet, as in arXiv:2006.03429.

    Parameters
    ----------
    layer : tuple of str or None
        Layers whose pooled activations are concatenated, features.1 to features.12, or, with PyTorch, any that
        torchvision names; None: the last feature map.
    pool : {"default", "average", "max", "2x2", "flatten"}
        How a feature map becomes a vector; default: 2x2, the average of each quarter.
    weights : str
        default (those of this package), or, with PyTorch, IMAGENET1K_V1, a file, a URL, or random.
    weights_sha256 : str or None
        SHA-256 that such a file must have, or its first 8 digits or more; a URL is not used without it.
    seed : int
        Determines random weights.
    """

    def __init__(
        self,
        *,
        layer: tuple[str, ...] | None = None,
        pool: ImagePool = "default",
        weights: str = "default",
        weights_sha256: str | None = None,
        seed: int = 0,
    ) -> None:
        self.layer = layer
        self.pool = one_of(self, "pool", pool, get_args(ImagePool))
        self.weights = weights
        self.weights_sha256 = weights_sha256
        self.seed = seed
        check_weights(weights, ("default", "random", "IMAGENET1K_V1"), sha256=weights_sha256)
        if layer is not None and (not layer or not all(layer)):
            raise ConfigError("layer is empty; name at least one, or leave it out for what the classifier is fed")

    @property
    def consumes(self) -> Representation:
        """Pictures (3, height, width)."""
        return Representation("image", (3, 224, 224))

    @property
    def dimension(self) -> int | None:
        """Length of an embedding."""
        if self._only_in_torch:
            return self._made_in_torch.dimension
        return sum(self._length(*_SQUEEZENET_MAPS[name]) for name in self._layers)

    def _length(self, channels: int, size: int) -> int:
        return {"2x2": 4 * channels, "flatten": channels * size**2}.get(self._pool, channels)

    @property
    def _pool(self) -> str:
        return "2x2" if self.pool == "default" else self.pool

    @property
    def _layers(self) -> tuple[str, ...]:
        return ("features.12",) if self.layer is None else self.layer

    @property
    def _network(self) -> Embedded:
        return catalogue.SQUEEZENET

    @property
    def _outputs(self) -> Sequence[str]:
        return [f"{name}_{self._pool}" for name in self._layers]

    @property
    def _only_in_torch(self) -> str | None:
        others = [name for name in self._layers if name not in _SQUEEZENET_MAPS]
        return f"layer {others[0]!r}" if others else _other_weights(self.weights, self.weights_sha256)


class YAMNet(EmbeddedExtractor):
    """Activations of YAMNet, a MobileNet that was trained to tag AudioSet's sounds, on patches of 0.96 s.

    Its weights are those of TensorFlow Hub's TFLite file, 8 bits each; what computes with them is exact, where LiteRT
    rounds spectra and activations to 8 bits, too.

    Parameters
    ----------
    layer : int
        Layer whose activations are averaged over the patch, 1 to 14, the last: 1024 values, what the classifier is fed.

    References
    ----------
    Plakal and Ellis 2020, tensorflow/models, research/audioset/yamnet.
    """

    def __init__(self, *, layer: int = len(_YAMNET_CHANNELS)) -> None:
        self.layer = _checked_layer(self._network, layer, range(1, len(_YAMNET_CHANNELS) + 1))

    @property
    def consumes(self) -> Representation:
        """Log-mel patches (96 frames, 64 bands)."""
        return Representation("yamnet-mel", (96, 64), 16000)

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return _YAMNET_CHANNELS[self.layer - 1]

    @property
    def _network(self) -> Embedded:
        return catalogue.YAMNET

    @property
    def _outputs(self) -> Sequence[str]:
        return (f"layer{self.layer}",)


class AiSFX(EmbeddedExtractor):
    """Activations of aiSFX (X-Sequential-CE), trained to sort sound effects into the categories of their libraries.

    Parameters
    ----------
    layer : int
        Block of convolutions whose last map is averaged over frequency, its maximum over time taken: 1 to 4, the last
        (512 values).

    References
    ----------
    Ma and Lerch 2022, Representation Learning for the Automatic Indexing of Sound Effects Libraries, ISMIR.
    """

    def __init__(self, *, layer: int = len(_AISFX_CHANNELS)) -> None:
        self.layer = _checked_layer(self._network, layer, range(1, len(_AISFX_CHANNELS) + 1))

    @property
    def consumes(self) -> Representation:
        """Log-mel blocks (any number of frames, 96 bands)."""
        return Representation("aisfx-mel", (None, 96), 44100)

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return _AISFX_CHANNELS[self.layer - 1]

    @property
    def _network(self) -> Embedded:
        return catalogue.AISFX

    @property
    def _outputs(self) -> Sequence[str]:
        return (f"layer{self.layer}",)

    def _embed(self, windows: Float32) -> Float32:
        if windows.shape[1] < _AISFX_FRAMES:
            raise AsdError(
                f"aiSFX takes windows of at least {_AISFX_FRAMES} frames (0.19 s), got {windows.shape[1]}; use longer "
                "ones"
            )
        return super()._embed(windows)


def _checked_layer(network: Embedded, layer: int, layers: range) -> int:
    if layer not in layers:
        there = ", ".join(map(str, layers))
        raise ConfigError(f"{network.title} has no layer {layer}; it has {there} (--extractor.layer)")
    return layer


def _other_weights(weights: str, sha256: str | None) -> str | None:
    return None if weights == "default" and sha256 is None else f"weights {weights!r}"
