"""The two terms of DiViD's loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from diffsda.factors import Factors


def absolute_error(given: Tensor, wanted: Tensor, real: Tensor | None = None, missing: Tensor | None = None) -> Tensor:
    """Return the mean absolute error of predicted noise over all entries of real frames that are not missing.

    Shapes: given (B, V, ...), wanted like it or (B, 1, ...), real (B, V) or None, missing (booleans like given) or
    None -> scalar. Where all entries are missing there is nothing to predict and it is 0.
    Source: DiViD Eq. 3, with a mean where it has a sum.
    """
    error = (given - wanted).abs()
    if missing is None:
        return error.mean() if real is None else error[real].mean()
    kept = ~missing
    if real is not None:
        kept = kept & real.reshape(*real.shape, *(1,) * (kept.ndim - 2))
    return (error * kept).sum() / kept.sum().clamp(min=1)


def orthogonality(f: Factors, *, cosine: bool = False) -> Tensor:
    """Return how far dynamic codes are from being orthogonal to their static code.

    The squared products (or cosines), summed over frames, averaged over clips; frames of zeros count nothing.
    Shapes: static (B, S), dynamic (B, V, S) -> scalar.
    Source: DiViD Eq. 4.
    """
    static = f.static[:, None]
    product = F.cosine_similarity(static, f.dynamic, dim=-1) if cosine else (static * f.dynamic).sum(-1)
    return product.square().sum(1).mean()
