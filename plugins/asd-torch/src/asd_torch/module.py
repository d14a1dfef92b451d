"""Any torch module as an extractor."""

from __future__ import annotations

import copy
import traceback
from typing import Any

import numpy as np
import torch

from asd.errors import AsdError, ConfigError, DataError
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
        if not isinstance(representation, Representation | None):
            raise ConfigError(
                f"ModuleExtractor: representation must be an asd.Representation, got {representation!r:.60}"
            )
        self.representation = representation
        self.dimension = dimension if dimension is None else whole_number(self, "dimension", dimension, 1)
        self.frontend = frontend
        self._tried = False
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

        def computed(batch: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = network(batch)
            self._check(batch, result)
            return result

        try:
            with full_precision(chosen):
                found = run(computed, windows, chosen, self.runtime.batch_size, _BATCH)
                alone = run(computed, windows[:1], chosen, 1, 1)[0] if not self._tried and len(windows) > 1 else None
        except AsdError:
            raise
        except Exception as error:
            raise ConfigError(
                f"extractor {self.name}: the module cannot take windows of shape (n, {_sizes(windows)}): "
                f"{' '.join(str(error).split()) or type(error).__name__}{_own_place(error)}"
            ) from error
        if not np.isfinite(found).all():
            raise DataError(f"extractor {self.name}: the module returned NaN or infinite numbers")
        if alone is not None:
            self._check_alone(found[0], alone)
            self._tried = True
        return found

    def _check(self, batch: torch.Tensor, result: Any) -> None:
        """Refuse what is no vector for each window."""
        is_tensor = isinstance(result, torch.Tensor)
        returned = f"a tensor ({', '.join(map(str, result.shape))})" if is_tensor else f"a {type(result).__name__}"
        if is_tensor and result.is_complex():
            returned = "complex numbers"
        elif is_tensor and result.ndim == 2 and len(result) == len(batch) and result.shape[1]:
            if self.dimension in (None, result.shape[1]):
                return
            raise ConfigError(
                f"extractor {self.name}: the module returned {result.shape[1]} values for each window, its dimension "
                f"is said to be {self.dimension}; say dimension={result.shape[1]}, or leave it out"
            )
        mend = "end it with a mean over time or torch.nn.Flatten()" if is_tensor else "let it return the tensor alone"
        raise ConfigError(
            f"extractor {self.name}: the module returned {returned} for {len(batch)} windows of shape "
            f"({_sizes(batch)}), expected a tensor (n, dimension): {mend}"
        )

    def _check_alone(self, among: Any, alone: Any) -> None:
        """Refuse a module that mixes windows, as one does that takes them for channels."""
        if among.shape != alone.shape or not np.allclose(among, alone, rtol=0.1, atol=0.01 * np.abs(among).max()):
            raise ConfigError(
                f"extractor {self.name}: what the module returns of a window depends on the windows beside it; the "
                "first axis counts windows: add the axis of channels with torch.nn.Unflatten or unsqueeze(1)"
            )

    def _network(self) -> tuple[torch.nn.Module, Plan]:
        if self._prepared is None or self._prepared[0] != self.runtime:
            chosen = plan(self.runtime, auto="fp32")
            try:
                prepared = prepare(copy.deepcopy(self.module), chosen)
            except AsdError:
                raise
            except Exception as error:  # a lock, a lazy layer, a tensor without data
                raise ConfigError(
                    f"extractor {self.name}: the module cannot be copied and moved to {chosen.device}: "
                    f"{' '.join(str(error).split())}{_own_place(error)}"
                ) from error
            self._prepared = self.runtime, prepared, chosen
        return self._prepared[1:]


def _sizes(array: Any) -> str:
    return ", ".join(map(str, array.shape[1:]))


def _own_place(error: Exception) -> str:
    """Return the innermost place that is neither of torch nor of this plugin: the user's code; empty: there is none."""
    strange = ("torch", "asd_torch", "copy", "asd")
    places = [
        f" ({frame.f_code.co_filename}, line {line})"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in strange
    ]
    return places[-1] if places else ""
