"""Adam without torch's optimiser class."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.optim.adam import adam


class Adam:
    """The steps of `torch.optim.Adam` with its default moments, by torch's own function.

    The class `torch.optim.Adam` imports the compiler (``torch._dynamo``) when it is first made: two to three seconds
    that every short training would wait for.

    Parameters
    ----------
    parameters : iterable of tensor
        What to train.
    learning_rate, weight_decay : float
        As `torch.optim.Adam` takes them.
    """

    def __init__(self, parameters: Iterable[torch.Tensor], learning_rate: float, weight_decay: float) -> None:
        self._parameters = list(parameters)
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay
        self._moments = {
            "exp_avg": [torch.zeros_like(parameter) for parameter in self._parameters],
            "exp_avg_sq": [torch.zeros_like(parameter) for parameter in self._parameters],
            "step": [torch.tensor(0.0) for _ in self._parameters],
        }

    @torch.no_grad()
    def step(self, loss: torch.Tensor) -> None:
        """Change the parameters so that the loss falls."""
        gradients = torch.autograd.grad(loss, self._parameters)
        adam(
            self._parameters,
            list(gradients),
            self._moments["exp_avg"],
            self._moments["exp_avg_sq"],
            [],
            self._moments["step"],
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self._learning_rate,
            weight_decay=self._weight_decay,
            eps=1e-8,
            maximize=False,
        )

    def state(self) -> dict[str, torch.Tensor]:
        """Return what is needed to go on later."""
        return {f"{index}.{name}": moment for name, all_ in self._moments.items() for index, moment in enumerate(all_)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from a state that `state` returned."""
        for name, moments in self._moments.items():
            for index, moment in enumerate(moments):
                moment.copy_(state[f"{index}.{name}"])
