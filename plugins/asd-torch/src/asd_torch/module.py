"""Any torch module as an extractor."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from asd.errors import ConfigError, DataError
from asd.plugin import CheckedExtractor, Float32, Representation, Runtime, whole_number
from asd_torch.batches import run
from asd_torch.device import Plan, full_precision, plan, resolved
from asd_torch.network import prepare

_BATCH = 32
_ANY = Representation("any", ())


class ModuleExtractor(CheckedExtractor):
    """An extractor made of a torch module: windows of the front end in, a vector for each of them out.

    ``asd.fit(data, frontend="mel-patch", extractor=module)`` makes one by itself; with a representation the wrong front
    end is refused before anything is computed.

    Parameters
    ----------
    module : torch.nn.Module
        Takes float32 windows of shape (n_windows, *shape) as the front end gives them; returns (n_windows, dimension).
        A copy of it is used, in evaluation
        mode: training it further changes nothing any more.
    representation : Representation, optional
        What it takes, such as ``Representation("patch", (64, None))``; default: whatever the front end gives.
    dimension : int, optional
        Length of an embedding; default: what the module returns.
    frontend : str, optional
        The front end used where the user names none.

    Raises
    ------
    ConfigError
        If it is no module, or the dimension no whole number above 0.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        *,
        representation: Representation | None = None,
        dimension: int | None = None,
        frontend: str | None = None,
    ) -> None:
        if not isinstance(module, torch.nn.Module):
            raise ConfigError(f"ModuleExtractor takes a torch.nn.Module, got {type(module).__name__}")
        self.name = type(module).__name__
        self.module = module
        self.representation = representation
        self.dimension = dimension if dimension is None else whole_number(self, "dimension", dimension, 1)
        self.frontend = frontend
        self._prepared: tuple[Runtime, torch.nn.Module, Plan] | None = None

    dimension: int | None = None

    @property
    def consumes(self) -> Representation:
        """What the module takes."""
        return self.representation or _ANY

    def computes_with(self) -> Runtime:
        """Return the runtime with the device and precision that ``auto`` stands for here."""
        return resolved(self.runtime, plan(self.runtime, auto="fp32"))

    def _embed(self, windows: Float32) -> Any:
        network, chosen = self._network()
        try:
            with full_precision(chosen):
                found = run(network, windows, chosen, self.runtime.batch_size, _BATCH)
        except (RuntimeError, TypeError, IndexError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"extractor {self.name}: the module cannot take windows of shape (n, {_sizes(windows)}): {reason}"
            ) from error
        if found.ndim != 2:
            raise ConfigError(
                f"extractor {self.name}: the module returned shape (n, {_sizes(found)}), expected (n, dimension): end "
                "it with a mean over time or torch.nn.Flatten()"
            )
        if not np.isfinite(found).all():
            raise DataError(f"extractor {self.name}: the module returned NaN or infinite numbers")
        return found

    def _network(self) -> tuple[torch.nn.Module, Plan]:
        if self._prepared is None or self._prepared[0] != self.runtime:
            chosen = plan(self.runtime, auto="fp32")
            self._prepared = self.runtime, prepare(copy.deepcopy(self.module), chosen), chosen
        return self._prepared[1:]


def _sizes(array: Any) -> str:
    return ", ".join(map(str, array.shape[1:]))
