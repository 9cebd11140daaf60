"""The components that a factor is moved along: from a file, or found in samples of a prior."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.tasks.own_prior import FactorPrior
from diffsda.tasks.traverse import POOL, Components, Factor, components

PARTS = ("mean", "std", "directions", "explained")
_PREFIX = "components_"


def from_prior(prior: FactorPrior, factor: Factor, count: int, *, samples: int = POOL, seed: int = 0) -> Components:
    """Find the first ``count`` components of a factor in samples of a prior.

    Raises: InputError for more components than dimensions, or too few samples.
    """
    if samples < 2:
        raise InputError(f"samples: got {samples}, expected at least 2")
    drawn: Factors = prior.sample(samples, seed)
    return components(drawn, factor, count)


def read_basis(path: Path, factor: Factor, width: int) -> Components:
    """Read components that `diffsda traverse` left beside its clips (.npz or .safetensors).

    ``width``: of the factor, S or D. Raises: InputError for a file that holds none, or those of another width.
    """
    try:
        held = {name.removeprefix(_PREFIX): value for name, value in _arrays(path) if name.startswith(_PREFIX)}
    except Exception as error:
        # A broken file can fail in any way its format's library knows; all mean the same.
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: cannot be read ({cause}), expected what `diffsda traverse` writes") from None
    if missing := [name for name in PARTS if name not in held]:
        raise InputError(f"{path}: holds no {_PREFIX}{missing[0]}, expected a file that `diffsda traverse` wrote")
    mean, std, directions, explained = (np.asarray(held[name], np.float64) for name in PARTS)
    if mean.shape != (width,) or std.shape != (width,) or directions.shape != (len(explained), width):
        raise InputError(
            f"{path}: got components {directions.shape} of a factor {mean.shape}, expected ({width},), the width of "
            f"the model's {factor} factor"
        )
    if not all(np.isfinite(part).all() for part in (mean, std, directions)):
        raise InputError(f"{path}: got components that are not finite, expected numbers")
    return Components(factor, mean, std, directions, explained, 0)


def _arrays(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the arrays of components alone: the clips beside them may be large."""
    if path.suffix.lower() == ".safetensors":
        with safe_open(path, framework="numpy") as held:
            yield from ((name, held.get_tensor(name)) for name in held.keys() if name.startswith(_PREFIX))  # noqa: SIM118
        return
    with np.load(path, allow_pickle=False) as held:
        yield from ((name, held[name]) for name in held.files if name.startswith(_PREFIX))
