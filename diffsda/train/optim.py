"""AdamW whose whole update, clipping and averaging included, is one operation of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffsda.errors import InputError
from diffsda.kernels import adamw
from diffsda.train.ema import Average


class FusedAdamW(torch.optim.AdamW):
    """Do what clip_grad_norm_, torch.optim.AdamW(fused=True) and Average.update do, in one call.

    Its state is torch.optim.AdamW's: state dicts go both ways, and a run begun with one goes on with the other.
    ``average`` is moved by every update; ``copies`` receive the weights in their own dtype, parameter by parameter.
    Differs: one parameter group, and the same parameters have gradients at every update, since one step number and
    one norm serve all.
    Raises: InputError where that does not hold.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float | Tensor,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        average: Average | None = None,
        copies: Sequence[Tensor] | None = None,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)
        self.average, self.copies = average, copies
        self.decay: Tensor | None = None
        """The average's decay as a 0-d tensor on the device, for a captured graph to read; None: by its updates."""

    @torch.no_grad()
    def update(self, clip: float | None = None) -> Tensor:
        """Clip, update, average and copy; return the gradient norm before clipping, on the device.

        Raises: InputError if other parameters have gradients than at the last update.
        """
        (group,) = self._groups()
        params = group["params"]
        grads = [p.grad for p in params]
        trained = [p for p, g in zip(params, grads) if g is not None]
        if not self.state:
            for p in trained:
                self.state[p] = {
                    "step": torch.zeros((), dtype=torch.float32, device=p.device),
                    "exp_avg": torch.zeros_like(p),
                    "exp_avg_sq": torch.zeros_like(p),
                }
        missing = [i for i, p in enumerate(params) if (p in self.state) != (grads[i] is not None)]
        if missing:
            raise InputError(
                f"FusedAdamW: got a gradient for parameter {missing[0]} at some updates only, expected the same "
                "parameters to have one at every update; use torch.optim.AdamW"
            )
        steps = [self.state[p]["step"] for p in trained]
        if steps:
            torch._foreach_add_(steps, 1)
        average = self.average
        try:
            norm = adamw(
                params,
                grads,
                # Those without a gradient have no moments; what stands in for them is not looked at.
                [self.state[p]["exp_avg"] if p in self.state else p for p in params],
                [self.state[p]["exp_avg_sq"] if p in self.state else p for p in params],
                lr=group["lr"],
                betas=group["betas"],
                eps=group["eps"],
                weight_decay=group["weight_decay"],
                step=steps[0] if steps else 1,
                clip=clip,
                averages=None if average is None else list(average.weights.values()),
                decay=None if average is None else self._decay(average),
                copies=self.copies,
            )
        except Exception:
            if steps:
                torch._foreach_sub_(steps, 1)
            raise
        if average is not None:
            average.updates += 1
        return norm

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update without clipping, as any optimiser."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.update()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of this class or of torch.optim.AdamW.

        Raises: InputError if its parameters were not updated equally often.
        """
        super().load_state_dict(state_dict)
        (group,) = self._groups()
        steps = {float(self.state[p]["step"]) for p in group["params"] if p in self.state}
        if len(steps) > 1:
            raise InputError(
                f"FusedAdamW: got parameters updated {min(steps):g} to {max(steps):g} times, expected all equally "
                "often; go on with torch.optim.AdamW"
            )
        for p in group["params"]:
            for name in ("exp_avg", "exp_avg_sq") if p in self.state else ():
                held = self.state[p][name]
                if held.stride() != p.stride():
                    # Saved from another memory format.
                    self.state[p][name] = torch.empty_like(p).copy_(held)

    def _groups(self) -> list[dict[str, Any]]:
        for group in self.param_groups:
            odd = [name for name in ("amsgrad", "maximize", "differentiable") if group[name]]
            if odd or len(self.param_groups) > 1:
                what = odd[0] if odd else f"{len(self.param_groups)} parameter groups"
                raise InputError(f"FusedAdamW: got {what}, expected one group and plain AdamW; use torch.optim.AdamW")
        return self.param_groups

    def _decay(self, average: Average) -> float | Tensor:
        return average.next_decay if self.decay is None else self.decay
