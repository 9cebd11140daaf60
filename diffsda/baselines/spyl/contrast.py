"""Contrast in the space of codes: which generated codes are negatives, and the loss over them."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from diffsda.baselines.gaussian import Gaussian
from diffsda.errors import InputError

Hardness = Literal["soft", "semi", "hard"]


def divergences(anchors: Gaussian, bank: Gaussian) -> Tensor:
    """Return KL(anchor || bank) of every anchor and every entry of the bank.

    Shapes: anchors (B, S), bank (K, S) -> (B, K).
    """
    return anchors[:, None].kl_to(bank)


def farthest_first(distance: Tensor) -> Tensor:
    """Return each anchor's ranking of the bank, farthest first.

    Shapes: distance (B, K) -> indices (B, K).
    """
    return distance.argsort(dim=1, descending=True)


def pick_negatives(
    ranking: Tensor,
    count: int,
    hardness: Hardness,
    *,
    order: Tensor | None = None,
    as_published: bool = False,
) -> Tensor:
    """Choose each anchor's negatives from its ranking of the bank.

    ``soft`` takes the farthest; ``semi`` the middle third, from its far end; ``hard`` the first in a random ``order``
    of the farthest two thirds. There may be fewer than ``count`` where that part of the bank is smaller.

    Shapes: ranking (B, K) -> indices (B, n), n <= count; order (B, M), or (1, M) for all anchors alike, each row a
    permutation of M = 2 * (K // 3) ranks.
    Source: SPYL section 4.2. Differs: ``as_published``, semi runs on past its third where ``count`` is larger.
    Raises: InputError for a bank smaller than ``count``, an unknown hardness, or ``hard`` without its order.
    """
    batch, size = ranking.shape
    third = size // 3
    if not 1 <= count <= size or (hardness != "soft" and third < 1):
        raise InputError(f"negatives: got {count} of a bank of {size}, expected at least 1 and no more than it holds")
    if hardness == "soft":
        return ranking[:, :count]
    if hardness == "semi":
        return ranking[:, third : third + (count if as_published else min(count, third))]
    if hardness != "hard":
        raise InputError(f"hardness: got {hardness!r}, expected soft, semi or hard")
    if order is None or order.shape[-1] != 2 * third:
        got = None if order is None else tuple(order.shape)
        raise InputError(f"order: got {got}, expected a permutation of {2 * third} ranks an anchor")
    return ranking.gather(1, order.expand(batch, -1)[:, :count])


def info_nce(
    anchors: Tensor, positives: Tensor, negatives: Tensor, *, temperature: float = 0.5, cosine: bool = True
) -> Tensor:
    """Return the contrastive loss: minus the log share of the positive among itself and the negatives.

    Shapes: anchors and positives (B, S), negatives (B, n, S) -> scalar, the mean over anchors.
    ``cosine`` compares directions, otherwise products.
    Source: SPYL Eq. 6; van den Oord et al. 2018. Differs: in logarithms throughout, so large similarities do not
    overflow.
    """
    if cosine:
        anchors, positives, negatives = (F.normalize(t, dim=-1) for t in (anchors, positives, negatives))
    near = (anchors * positives).sum(-1, keepdim=True)  # (B, 1)
    far = torch.einsum("bs,bns->bn", anchors, negatives)
    logits = torch.cat([near, far], dim=1) / temperature
    return (torch.logsumexp(logits, dim=1) - logits[:, 0]).mean()
