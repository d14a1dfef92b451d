"""What the autoencoders have in common: fit, score, and what a model file keeps."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import asd_torch
from asd.errors import ConfigError, DataError, ModelFileError
from asd.plugin import CheckedDetector, Features, Float32, Float64, Runtime, State, number, whole_number
from asd_autoencoder.checkpoint import Checkpoint
from asd_autoencoder.networks import Reconstruction
from asd_autoencoder.training import Settings, Training, split

_SCORING_BATCH = 256
_EXTRAS = ("dimension", "training_loss", "held_out_loss")


class ReconstructionDetector(CheckedDetector):
    """A detector whose score is the mean squared error of a network that reconstructs its input.

    Attributes
    ----------
    dimension_ : int
        Values of a window.
    training_loss_, held_out_loss_ : float64 array of shape (epochs,)
        Mean squared error of the scaled features after each epoch; the latter empty without early stop.
    """

    name: str
    """The registered name, for messages and the progress display."""

    _threads: int | None = None
    """Processor threads to train with; None: as many as torch uses."""

    training_loss_: Float64
    held_out_loss_: Float64

    def __init__(
        self,
        *,
        epochs: int,
        train_batch: int,
        learning_rate: float,
        weight_decay: float,
        early_stop: int | None,
        held_out: float,
        seed: int,
    ) -> None:
        self.epochs = whole_number(self, "epochs", epochs, 1)
        self.train_batch = whole_number(self, "train_batch", train_batch, 1)
        self.learning_rate = number(self, "learning_rate", learning_rate, above=0)
        self.weight_decay = number(self, "weight_decay", weight_decay, at_least=0)
        self.early_stop = early_stop if early_stop is None else whole_number(self, "early_stop", early_stop, 1)
        self.held_out = number(self, "held_out", held_out, above=0, below=1)
        self.seed = whole_number(self, "seed", seed, 0)
        self._autoencoder: Reconstruction | None = None
        self._ready: tuple[Runtime, asd_torch.Plan, nn.Module] | None = None

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, Any]:
        """Return parameters for a short training; see `asd.plugin.Component`."""
        return {"epochs": 1, "train_batch": 8, "learning_rate": 1e-3}

    @abstractmethod
    def _network(self, dimension: int) -> nn.Module:
        """Return an untrained network for windows of `dimension` values."""

    def _check_dimension(self, dimension: int) -> None:
        """Raise ConfigError if windows of `dimension` values do not suit the network."""

    def _learn(self, features: Features) -> None:
        """Train on features of normal windows.

        An earlier training on the same features with the same parameters that was stopped midway is continued.

        Raises
        ------
        DataError
            If the windows are too few for a batch.
        ConfigError
            If the features do not suit the network, the loss stops being a number, or the device is absent or too
            small.
        """
        self._check_dimension(features.shape[1])
        self._check_count(len(features))
        values: Float32 = np.require(features, np.float32, ["C", "W"])  # torch warns of read-only memory
        plan = asd_torch.plan(self._runtime())
        level, scale = _level_and_scale(self.name, values)
        # Layers draw their first weights from torch's global generator: it is given back as it was.
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.default_generator.manual_seed(self.seed)
            autoencoder = Reconstruction(self._network(values.shape[1]), level, scale)
        training = self._train(autoencoder, values, plan)
        self.set_state(
            {
                **_arrays(autoencoder),
                "dimension": np.asarray(values.shape[1]),
                "training_loss": np.asarray(training.training_loss),
                "held_out_loss": np.asarray(training.held_out_loss),
            }
        )

    def _train(self, autoencoder: Reconstruction, values: Float32, plan: asd_torch.Plan) -> Training:
        settings = Settings(
            name=self.name, **{f.name: getattr(self, f.name) for f in dataclasses.fields(Settings) if f.name != "name"}
        )
        description = {**self.get_params(), "device": plan.device.type, "precision": str(plan.dtype)}
        checkpoint = Checkpoint.of_training(self.name, values, description)
        autoencoder = autoencoder.to(plan.device).to(memory_format=torch.channels_last)
        try:
            training = Training(autoencoder, torch.from_numpy(values), settings, plan)
            with torch.enable_grad(), _limited_to(self._threads), asd_torch.full_precision(plan, deterministic=True):
                training.run(checkpoint)
        except torch.OutOfMemoryError as error:
            raise ConfigError(
                f"{self.name}: {plan.device} has too little memory to train with {self.train_batch} windows at a "
                f"time; use --detector.train_batch {max(1, self.train_batch // 2)} or --device cpu"
            ) from error
        return training

    def _check_count(self, n_windows: int) -> None:
        learned, held_out = n_windows, 0
        if self.early_stop is not None and n_windows:
            learned, held_out = (len(part) for part in split(n_windows, self.held_out, self.seed))
        if learned < self.train_batch:
            aside = f" ({held_out} more are held out)" if held_out else ""
            raise DataError(
                f"{self.name}: {learned} windows to learn from{aside}, a batch takes {self.train_batch}; give more or "
                f"longer recordings, or use --detector.train_batch {max(1, learned // 4)}"
            )

    def _score(self, features: Features) -> Float32:
        """Return the mean squared reconstruction error of each window."""
        plan, network = self._prepared()
        values = np.ascontiguousarray(features, np.float32)
        with asd_torch.full_precision(plan):  # a reconstruction's small errors are the score
            return asd_torch.run(network, values, plan, self.runtime.batch_size, _SCORING_BATCH)

    def _runtime(self) -> Runtime:
        """Return the runtime with float32 for ``auto``: small errors are what the scores are made of."""
        if self.runtime.precision == "auto":
            return dataclasses.replace(self.runtime, precision="fp32")
        return self.runtime

    def _prepared(self) -> tuple[asd_torch.Plan, nn.Module]:
        autoencoder = self._fitted()
        if self._ready is None or self._ready[0] != self.runtime:
            plan = asd_torch.plan(self._runtime())
            self._ready = (self.runtime, plan, asd_torch.prepare(copy.deepcopy(autoencoder), plan))
        return self._ready[1:]

    def _fitted(self) -> Reconstruction:
        if self._autoencoder is None:
            raise ConfigError(f"{self.name}: not fitted yet; call fit or load a model before scoring")
        return self._autoencoder

    def get_state(self) -> State:
        """Return the weights, the batch norms' statistics, the input scaling and the course of the training."""
        return {
            **_arrays(self._fitted()),
            "dimension": np.asarray(self.dimension_),
            "training_loss": self.training_loss_,
            "held_out_loss": self.held_out_loss_,
        }

    def set_state(self, state: State) -> None:
        """Restore what `get_state` returned.

        Raises
        ------
        AsdError
            If an array is missing, misshapen or too many.
        """
        if missing := [name for name in _EXTRAS if name not in state]:
            raise ModelFileError(
                f"{self.name}: the model lacks {', '.join(missing)}; it is damaged or of another version: fit it again"
            )
        dimension = int(state["dimension"])
        with torch.device("meta"):
            autoencoder = Reconstruction(self._network(dimension))
        tensors = {name: torch.tensor(array) for name, array in state.items() if name not in _EXTRAS}
        asd_torch.load_into(autoencoder, tensors, self.name, "the model")
        self.dimension_ = dimension
        self.training_loss_ = np.asarray(state["training_loss"], np.float64)
        self.held_out_loss_ = np.asarray(state["held_out_loss"], np.float64)
        self._autoencoder, self._ready = autoencoder, None


@contextlib.contextmanager
def _limited_to(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _level_and_scale(owner: str, values: Float32) -> tuple[float, float]:
    """Return the mean and the standard deviation of all values together.

    Raises
    ------
    DataError
        If all values are the same in single precision.
    """
    level = float(values.mean(dtype=np.float64))
    blocks = np.array_split(values, -(-values.size // 2**20))
    square = sum(float(np.square(block - level, dtype=np.float64).sum()) for block in blocks)
    scale = math.sqrt(square / values.size)
    if scale == 0.0:
        raise DataError(
            f"{owner}: all {len(values)} training windows hold nothing but the value {level:g}, there is nothing to "
            "learn; check that the recordings are not silent"
        )
    return level, scale


def _arrays(autoencoder: Reconstruction) -> State:
    return {name: tensor.cpu().numpy() for name, tensor in autoencoder.state_dict().items()}
