"""The plain torch form of the small attention."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with a single head: softmax(q k^T / sqrt(C)) v.

    Shapes: q, k, v, result (N, L, C), with L pixels.
    Source: the authors' attention block.
    """
    return F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
