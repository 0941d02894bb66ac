"""The Lion optimiser (Chen et al., 2302.06675, algorithm 2): every weight moves by the rate.

Only the sign of an interpolated momentum counts, so a step has the same length in every weight.
"""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer


class Lion(Optimizer):
    """u = sign(beta1 m + (1-beta1) g); w -= rate (u + decay w); m = beta2 m + (1-beta2) g."""

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.95, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        """The paper's momenta by default.

        Args:
            params: weights to train.
            lr: rate, the length of a step in every weight.
            betas: momentum of the update, momentum of the state.
            weight_decay: decoupled, relative to the rate.
        """
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every weight that has a gradient."""
        if closure is not None:
            raise ValueError("Lion evaluates no closure")
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._update(weights, group)
        return None

    def _update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        for weight in weights:
            if "momentum" not in self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
        momenta = [self.state[weight]["momentum"] for weight in weights]
        beta_update, beta_state = group["betas"]
        updates = torch._foreach_lerp(momenta, gradients, 1 - beta_update)
        torch._foreach_sign_(updates)
        if group["weight_decay"]:
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(weights, updates, alpha=-group["lr"])
        torch._foreach_lerp_(momenta, gradients, 1 - beta_state)
