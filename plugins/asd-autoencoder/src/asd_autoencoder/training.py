"""Train an autoencoder: reproducible by a seed, and resumed where it was interrupted."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from asd.errors import ConfigError
from asd.plugin import track
from asd_autoencoder.checkpoint import Checkpoint
from asd_autoencoder.networks import Reconstruction
from asd_torch import Plan

_STRETCHES = 50
_log = logging.getLogger("asd")
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Settings:
    """How to train; see the detectors for the meaning of each field."""

    name: str
    epochs: int
    train_batch: int
    learning_rate: float
    weight_decay: float
    early_stop: int | None
    held_out: float
    seed: int


def split(n_windows: int, held_out: float, seed: int) -> tuple[Indices, Indices]:
    """Return the indices of the windows to learn from and of those to hold out.

    Neighbouring windows overlap and resemble each other: whole stretches of neighbours are held out, so that the
    held-out error is not that of windows half learned.
    """
    stretches = np.array_split(np.arange(n_windows), min(n_windows, _STRETCHES))
    count = min(len(stretches) - 1, max(1, round(held_out * len(stretches))))
    order = np.random.default_rng(seed).permutation(len(stretches))
    return (
        np.concatenate([stretches[index] for index in sorted(order[count:])]),
        np.concatenate([stretches[index] for index in sorted(order[:count])]),
    )


class Training:
    """The course of a training.

    Parameters
    ----------
    autoencoder : Reconstruction
        Untrained, on the plan's device; trained in place.
    windows : float32 tensor of shape (n, d)
        In main memory.
    settings : Settings
        How to train.
    plan : Plan
        Device and number format; bfloat16 means automatic mixed precision.

    Attributes
    ----------
    training_loss, held_out_loss : list of float
        One mean squared error per epoch, of scaled values; the latter empty without early stop.
    """

    def __init__(self, autoencoder: Reconstruction, windows: torch.Tensor, settings: Settings, plan: Plan) -> None:
        self.autoencoder = autoencoder
        self.windows = windows
        self.settings = settings
        self.plan = plan
        self.training_loss: list[float] = []
        self.held_out_loss: list[float] = []
        self._learned: Indices = np.arange(len(windows))
        self._held_out: Indices = self._learned[:0]
        if settings.early_stop is not None:
            self._learned, self._held_out = split(len(windows), settings.held_out, settings.seed)
        self._best: dict[str, torch.Tensor] = {}
        self._adam = torch.optim.Adam(
            autoencoder.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )

    def run(self, checkpoint: Checkpoint) -> None:
        """Train to the end, from the checkpoint's state if it has one; the checkpoint is deleted at the end.

        Raises
        ------
        ConfigError
            If the loss stops being a number.
        """
        if (state := checkpoint.load()) is not None:
            self._restore(state)
        for epoch in track(range(len(self.training_loss), self.settings.epochs), f"training {self.settings.name}"):
            if self._is_stale():
                _log.info(
                    "%s: stopped after epoch %d of %d: the held-out error was lowest after epoch %d",
                    self.settings.name,
                    epoch,
                    self.settings.epochs,
                    int(np.argmin(self.held_out_loss)) + 1,
                )
                break
            self._epoch(epoch)
            if not math.isfinite(self.training_loss[-1]):
                checkpoint.remove()
                raise ConfigError(
                    f"{self.settings.name}: the loss became {self.training_loss[-1]} in epoch {epoch + 1} at learning "
                    f"rate {self.settings.learning_rate:g}; use --detector.learning_rate "
                    f"{self.settings.learning_rate / 10:g} or less"
                )
            self._hold_out()
            if epoch + 1 < self.settings.epochs:
                checkpoint.save_if_due(self._state)
        if self._best:
            self.autoencoder.load_state_dict(self._best)
        checkpoint.remove()

    def _epoch(self, epoch: int) -> None:
        # The order depends on seed and epoch alone: a continued training needs no generator's state.
        order = np.random.default_rng((self.settings.seed, epoch)).permutation(self._learned)
        losses = []
        self.autoencoder.train()
        for batch in self._batches(order):
            loss = self._loss(batch)
            self._adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            self._adam.step()
            losses.append(loss.detach() * len(batch))
        # Summed at the end: asking a GPU for each batch's loss would make it wait.
        self.training_loss.append(float(torch.stack(losses).cpu().double().sum()) / len(order))

    def _hold_out(self) -> None:
        if not len(self._held_out):
            return
        self.autoencoder.eval()
        with torch.no_grad():
            total = sum(float(self._loss(batch)) * len(batch) for batch in self._batches(self._held_out))
        loss = total / len(self._held_out)
        if not self._best or loss < min(self.held_out_loss):
            self._best = {name: tensor.clone() for name, tensor in self.autoencoder.state_dict().items()}
        self.held_out_loss.append(loss)

    def _is_stale(self) -> bool:
        """Return whether the held-out error has not fallen for as many epochs as early stop allows."""
        if self.settings.early_stop is None or not self.held_out_loss:
            return False
        return len(self.held_out_loss) - 1 - int(np.argmin(self.held_out_loss)) >= self.settings.early_stop

    def _batches(self, indices: Indices) -> Iterator[torch.Tensor]:
        """Yield the windows in equal parts: a last batch of few windows would spoil the batch norm's statistics."""
        for part in np.array_split(indices, -(-len(indices) // self.settings.train_batch)):
            yield self.windows[torch.from_numpy(part)].to(self.plan.device)

    def _loss(self, batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.plan.device.type, torch.bfloat16, enabled=self.plan.dtype == torch.bfloat16):
            return self.autoencoder.scaled_error(batch).mean()

    def _state(self) -> dict[str, torch.Tensor]:
        state = {f"model.{name}": tensor for name, tensor in self.autoencoder.state_dict().items()}
        state |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        for index, moments in self._adam.state_dict()["state"].items():
            state |= {f"adam.{index}.{name}": tensor for name, tensor in moments.items()}
        state["training_loss"] = torch.tensor(self.training_loss, dtype=torch.float64)
        state["held_out_loss"] = torch.tensor(self.held_out_loss, dtype=torch.float64)
        return state

    def _restore(self, state: dict[str, torch.Tensor]) -> None:
        self.autoencoder.load_state_dict(_section(state, "model"))
        self._best = {name: tensor.to(self.plan.device) for name, tensor in _section(state, "best").items()}
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in _section(state, "adam").items():
            index, _, name = key.partition(".")
            moments.setdefault(int(index), {})[name] = tensor
        self._adam.load_state_dict({**self._adam.state_dict(), "state": moments})
        self.training_loss = state["training_loss"].tolist()
        self.held_out_loss = state["held_out_loss"].tolist()
        _log.info(
            "%s: continuing at epoch %d of %d",
            self.settings.name,
            len(self.training_loss) + 1,
            self.settings.epochs,
        )


def _section(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{prefix}."): tensor for key, tensor in state.items() if key.startswith(f"{prefix}.")}
