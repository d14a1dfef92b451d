"""The detectors: convolutional autoencoders of spectrogram patches, a dense autoencoder of vectors."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from asd.errors import ConfigError
from asd.plugin import one_of, whole_number
from asd_autoencoder import networks
from asd_autoencoder.base import ReconstructionDetector


class ConvolutionalAutoencoder(ReconstructionDetector):
    """Convolutional autoencoder of spectrogram patches: the mean squared error of a patch's reconstruction.

    Three convolutions, each of which halves the patch, and a decoder that mirrors them; the output is linear, because
    features may be standardised. The paper leaves open how the patch is halved. ``lenet`` is read as the LeNet
    autoencoder of Ruff et al. (Deep One-Class Classification, ICML 2018): convolutions of unchanged size, each followed
    by batch norm, ELU and 2×2 max pooling; a dense code; a decoder that doubles by repetition before each convolution.
    ``small`` is read as what its even kernel suits: stride 2 without pooling, transposed convolutions in the decoder;
    no batch norm and no dense code, neither being mentioned.

    Parameters
    ----------
    architecture : {"lenet", "small"}
        ``lenet``: 32, 64, 128 channels, kernel 5; ``small``: 12, 24, 48 channels, kernel 4.
    shape : tuple of int
        Height and width of a patch, multiples of 8; their product is the length of a feature vector.
    bottleneck : int or None
        Length of a dense code between encoder and decoder; None: the architecture's own (lenet 128, small no dense
        code: its last feature maps).
    epochs : int
        Passes over the training windows.
    train_batch : int
        Windows per step of the optimiser (Adam).
    learning_rate : float
        Of Adam.
    weight_decay : float
        L2 penalty of Adam.
    early_stop : int or None
        Stop when the error on held-out training windows has not fallen for this many epochs, and keep the network of
        the best epoch; None: learn from all windows for all epochs.
    held_out : float
        Fraction of the training windows that early stop holds out.
    seed : int
        Of the first weights, the order of the windows and the held-out part.

    References
    ----------
    Müller et al. 2020, Acoustic Anomaly Detection for Machine Sounds based on Image Transfer Learning,
    arXiv:2006.03429: layers and defaults.
    """

    def __init__(
        self,
        *,
        architecture: Literal["lenet", "small"] = "lenet",
        shape: tuple[int, int] = (64, 64),
        bottleneck: int | None = None,
        epochs: int = 80,
        train_batch: int = 128,
        learning_rate: float = 1e-4,
        weight_decay: float = 0.0,
        early_stop: int | None = None,
        held_out: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.architecture = one_of(self, "architecture", architecture, networks.ARCHITECTURES)
        self.name = f"{architecture}-dcae"
        super().__init__(
            epochs=epochs,
            train_batch=train_batch,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            early_stop=early_stop,
            held_out=held_out,
            seed=seed,
        )
        reduction = networks.ARCHITECTURES[architecture].reduction
        if len(shape) != 2 or any(side < reduction or side % reduction for side in shape):
            raise ConfigError(
                f"{self.name}: shape must be two multiples of {reduction} (height, width), got "
                f"{', '.join(map(str, shape))}; use --detector.shape 64,64 and a patch of that size"
            )
        self.shape = shape
        if bottleneck is not None:
            whole_number(self, "bottleneck", bottleneck, 1)
        self.bottleneck = bottleneck

    def _network(self, dimension: int) -> nn.Module:
        architecture = networks.ARCHITECTURES[self.architecture]
        height, width = self.shape
        bottleneck = architecture.bottleneck if self.bottleneck is None else self.bottleneck
        return networks.convolutional(architecture, (height, width), bottleneck)

    def _check_dimension(self, dimension: int) -> None:
        height, width = self.shape
        if dimension != math.prod(self.shape):
            raise ConfigError(
                f"{self.name}: got {dimension} features a window, a patch of {height} × {width} has {height * width}; "
                "use --frontend mel-patch --extractor identity without PCA, or set --detector.shape to the patch's size"
            )


class DenseAutoencoder(ReconstructionDetector):
    """Dense autoencoder of vectors: the mean squared error of a vector's reconstruction.

    The baseline of the MIMII data set and the first DCASE challenges, on 5 stacked frames of 64 mel bands; it takes
    feature vectors of any length. ReLU follows every layer but the last.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the encoder's layers; the decoder mirrors them.
    bottleneck : int
        Length of the code.
    epochs : int
        Passes over the training windows.
    train_batch : int
        Windows per step of the optimiser (Adam).
    learning_rate : float
        Of Adam.
    weight_decay : float
        L2 penalty of Adam.
    early_stop : int or None
        Stop when the error on held-out training windows has not fallen for this many epochs, and keep the network of
        the best epoch; None: learn from all windows for all epochs.
    held_out : float
        Fraction of the training windows that early stop holds out.
    seed : int
        Of the first weights, the order of the windows and the held-out part.

    References
    ----------
    Purohit et al. 2019, MIMII Dataset, arXiv:1909.09347: the network. arXiv:2012.06282: layers and defaults.
    """

    name = "dense-ae"
    # Its matrix products are so small that threads wait for each other longer than they compute; on a busy machine
    # two were measured to take twenty times as long as one.
    _threads = 1

    def __init__(
        self,
        *,
        hidden: tuple[int, ...] = (64, 64),
        bottleneck: int = 8,
        epochs: int = 50,
        train_batch: int = 128,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-5,
        early_stop: int | None = None,
        held_out: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(
            epochs=epochs,
            train_batch=train_batch,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            early_stop=early_stop,
            held_out=held_out,
            seed=seed,
        )
        for width in hidden:
            whole_number(self, "hidden", width, 1)
        whole_number(self, "bottleneck", bottleneck, 1)
        self.hidden = hidden
        self.bottleneck = bottleneck

    def _network(self, dimension: int) -> nn.Module:
        return networks.dense(dimension, self.hidden, self.bottleneck)
