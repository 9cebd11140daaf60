"""What every operation asks of its arguments before it looks closer."""

from __future__ import annotations

import torch
from torch import Tensor

from diffsda.errors import InputError
from diffsda.kernels.dropout import BITS, threshold


def tensors(operation: str, **given: object) -> None:
    """Refuse what is not a tensor.

    Raises: InputError.
    """
    for name, value in given.items():
        if not isinstance(value, Tensor):
            raise InputError(f"{operation}: got {name} of type {type(value).__name__}, expected a torch tensor")


def dropout_probability(operation: str, dropout: float) -> None:
    """Refuse a probability that rounds to dropping everything.

    Raises: InputError.
    """
    if threshold(dropout) == 2**BITS:
        raise InputError(f"{operation}: got dropout {dropout}, expected at most 1 - 2**-{BITS} for backend 'triton'")


def dropout_state(operation: str, state: Tensor | None, site: int, device: torch.device) -> None:
    """Refuse a (seed, offset) that kernels cannot read.

    Raises: InputError.
    """
    if state is not None:
        tensors(operation, state=state)
        if state.dtype != torch.int64 or state.shape != (2,) or state.device != device:
            raise InputError(
                f"{operation}: got state {tuple(state.shape)} {state.dtype} on {state.device}, expected two int64, "
                f"(seed, offset), on {device}"
            )
    if not isinstance(site, int):
        raise InputError(f"{operation}: got site {site!r}, expected a whole number")
