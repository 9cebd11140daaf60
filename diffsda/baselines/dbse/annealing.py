"""Weights of the divergences that grow from nothing within every cycle of epochs."""

from __future__ import annotations

import math

from diffsda.errors import InputError


def beta(epoch: int, period: int = 100) -> float:
    """Return the share of a divergence's weight in an epoch, from 0 to 1.

    Half a cosine from 0 over the first half of a cycle, then 1.
    Source: DBSE's MUG run (cycles of 100 of 2000 epochs).
    Raises: InputError for a negative epoch or a period below 1.
    """
    if epoch < 0 or period < 1:
        raise InputError(f"annealing: got epoch {epoch} and period {period}, expected 0 or more and 1 or more")
    place = 2 * (epoch % period) / period
    return 0.5 - 0.5 * math.cos(math.pi * place) if place < 1 else 1.0


def weights(
    static: float, dynamic: float, epoch: int, period: int = 100, *, as_published: bool = False
) -> tuple[float, float]:
    """Return the weights of the static and the dynamic divergence in an epoch.

    Both are their full weight times ``beta``. ``as_published``: the static weight is multiplied by the betas of all
    epochs so far, and the first of them is 0, so it is 0 for ever; the dynamic weight is replaced by beta.
    Source: DBSE's MUG run.
    Differs: the released code carries the product from one epoch to the next.
    """
    share = beta(epoch, period)
    if as_published:
        return static * math.prod(beta(e, period) for e in range(epoch + 1)), share
    return static * share, dynamic * share
