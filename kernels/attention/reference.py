"""The plain torch form of the small attention."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from diffsda.errors import InputError


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with a single head: softmax(q k^T / sqrt(C)) v.

    Shapes: q, k, v, result (N, L, C), with L pixels.
    Source: the authors' attention block.
    Raises: InputError for tensors that do not go together.
    """
    check(q, k, v)
    return F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]


def check(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Refuse what no backend computes.

    Raises: InputError unless q, k and v are floats of one shape (N, L, C), C > 0, one dtype and one device.
    """
    got = ", ".join(f"{name} {tuple(t.shape)} {t.dtype} on {t.device}" for name, t in (("q", q), ("k", k), ("v", v)))
    if q.ndim != 3 or q.shape[-1] == 0 or not q.is_floating_point():
        raise InputError(f"attention: got {got}, expected floats of shape (N, L, C), C > 0")
    if not (q.shape == k.shape == v.shape and q.dtype == k.dtype == v.dtype and q.device == k.device == v.device):
        raise InputError(f"attention: got {got}, expected one shape, dtype and device")
