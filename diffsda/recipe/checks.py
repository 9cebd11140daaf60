"""What values the parts of a recipe may have: each refusal is one line."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from diffsda.errors import InputError
from diffsda.recipe.parts import Backbone, Clips, Encoder, Noise, Optim, Sampling

if TYPE_CHECKING:
    from diffsda.recipe.model import Recipe

PARTS: dict[str, type] = {
    "clips": Clips,
    "backbone": Backbone,
    "encoder": Encoder,
    "noise": Noise,
    "sampling": Sampling,
    "optim": Optim,
}
"""The parts that recipes are made of, by name; a recipe of another system than ours has some of them."""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


# name -> (kind of number, smallest allowed, whether the smallest itself is allowed)
_LIMITS: dict[str, tuple[type, float, bool]] = {
    "clips.channels": (int, 1, True),
    "clips.stride": (int, 1, True),
    "clips.jitter": (float, 0, True),
    "backbone.width": (int, 1, True),
    "backbone.blocks": (int, 1, True),
    "backbone.dropout": (float, 0, True),
    "encoder.width": (int, 1, True),
    "encoder.blocks": (int, 1, True),
    "encoder.dropout": (float, 0, True),
    "encoder.hidden": (int, 1, True),
    "encoder.static": (int, 1, True),
    "encoder.dynamic": (int, 1, True),
    "noise.P_mean": (float, float("-inf"), False),
    "noise.P_std": (float, 0, False),
    "noise.sigma_data": (float, 0, False),
    "sampling.steps": (int, 2, True),
    "sampling.sigma_min": (float, 0, False),
    "sampling.sigma_max": (float, 0, False),
    "sampling.rho": (float, 0, False),
    "sampling.S_churn": (float, 0, True),
    "sampling.S_min": (float, 0, True),
    "sampling.S_max": (float, 0, True),
    "sampling.S_noise": (float, 0, True),
    "optim.lr": (float, 0, False),
    "optim.warmup": (int, 0, True),
    "optim.weight_decay": (float, 0, True),
    "optim.clip": (float, 0, False),
    "optim.batch": (int, 1, True),
    "optim.accumulate": (int, 1, True),
    "optim.epochs": (int, 1, True),
    "optim.window": (float, 0, False),
    "optim.draws": (int, 1, True),
    "optim.seed": (int, 0, True),
}

# Recipes come out of strangers' files too: none may ask for a network that takes minutes or terabytes to build.
_MOST = {
    "clips.channels": 65_536,
    "clips.jitter": 0.5,
    "backbone.width": 16_384,
    "backbone.blocks": 16,
    "encoder.width": 16_384,
    "encoder.blocks": 16,
    "encoder.hidden": 65_536,
    "encoder.static": 65_536,
    "encoder.dynamic": 65_536,
    "sampling.steps": 10_000,
    "optim.window": 1,
    "optim.draws": 10_000,
}
_MOST_PIXELS, _MOST_LEVELS, _MOST_MULTIPLIER, _MOST_FLOAT = 4096, 10, 64, 1e30


def check_parts(name: Any, parts: Mapping[str, Any]) -> None:
    """Refuse values no model or training can have.

    Raises: InputError naming the setting, what it is and what is expected.
    """
    _check_kinds(name, parts)
    for path, (kind, least, inclusive) in _LIMITS.items():
        part, setting = path.split(".")
        if part not in parts:
            continue
        value = getattr(parts[part], setting)
        right_kind = isinstance(value, int) and not isinstance(value, bool) if kind is int else _is_number(value)
        if not right_kind or value < least or (value == least and not inclusive):
            what = "a whole number" if kind is int else "a number"
            raise InputError(f"{path}: got {value!r}, expected {what} {'>=' if inclusive else '>'} {least:g}")
        most = _MOST.get(path, float("inf") if kind is int or path == "sampling.S_max" else _MOST_FLOAT)
        if value > most:
            raise InputError(f"{path}: got {value!r}, expected at most {most:g}")
    for part in ("backbone", "encoder"):
        if part in parts and parts[part].dropout >= 1:
            raise InputError(f"{part}.dropout: got {parts[part].dropout!r}, expected a share below 1")
    _check_optim(parts["optim"])
    sampling = parts["sampling"]
    if sampling.sigma_min >= sampling.sigma_max:
        raise InputError(
            f"sampling: got sigma_min {sampling.sigma_min:g} and sigma_max {sampling.sigma_max:g}, expected "
            "sigma_min < sigma_max"
        )


def _check_optim(optim: Optim) -> None:
    if optim.ema is not None and not 0 < optim.ema < 1:
        raise InputError(f"optim.ema: got {optim.ema!r}, expected a decay between 0 and 1, or none")
    if optim.steps is not None and optim.steps < 1:
        raise InputError(f"optim.steps: got {optim.steps!r}, expected at least 1, or none")
    if optim.batch % optim.accumulate:
        raise InputError(
            f"optim.accumulate: got {optim.accumulate} parts for a batch of {optim.batch}, expected a divisor of the "
            "batch"
        )


def _check_kinds(name: Any, parts: Mapping[str, Any]) -> None:
    """Refuse settings of another kind than they are declared as, where ``_LIMITS`` does not say it better."""
    if not isinstance(name, str):
        raise InputError(f"name: got {name!r}, expected a text")
    for part, held in parts.items():
        kind = PARTS[part]
        if not isinstance(held, kind):
            raise InputError(f"{part}: got {type(held).__name__}, expected a {kind.__name__}")
        for setting, hint in _hints(kind).items():
            value = getattr(held, setting)
            if f"{part}.{setting}" not in _LIMITS and not _is(value, hint):
                shown = repr(value) if len(repr(value)) < 80 else f"{repr(value)[:80]}..."
                raise InputError(f"{part}.{setting}: got {shown}, expected {_words(hint)}")


# Reading a class's annotations back from text is slow; there are six classes.
_hints = functools.cache(get_type_hints)


def _is(value: Any, kind: Any) -> bool:
    """Tell whether a value is of an annotated kind."""
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in inner
    if get_origin(kind) is tuple:
        right = isinstance(value, tuple) and all(_is(v, inner[0]) for v in value)
        return right and (Ellipsis in inner or len(value) == len(inner))
    if isinstance(kind, UnionType):
        return any(_is(value, k) for k in inner)
    if kind is float:
        return _is_number(value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _words(kind: Any) -> str:
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(inner)}"
    if get_origin(kind) is tuple:
        return f"a list of {_words(inner[0])}s"
    if isinstance(kind, UnionType):
        return " or ".join(map(_words, inner))
    return {bool: "true or false", int: "whole number", float: "number", type(None): "none"}.get(kind, kind.__name__)


def check_unet(recipe: Recipe) -> None:
    """Refuse widths, levels and sizes no U-Net can have. Raises: InputError."""
    if recipe.clips.size is None or recipe.clips.size < 1:
        raise InputError("clips.size: got none, expected the height and width of a frame for a U-Net")
    if recipe.clips.size > _MOST_PIXELS:
        raise InputError(f"clips.size: got {recipe.clips.size}, expected at most {_MOST_PIXELS}")
    for part in ("backbone", "encoder"):
        net = getattr(recipe, part)
        if max(len(net.multipliers), len(net.attention)) > _MOST_LEVELS:
            raise InputError(
                f"{part}: got {len(net.multipliers)} multipliers and {len(net.attention)} levels with attention, "
                f"expected at most {_MOST_LEVELS}"
            )
        if any(not 1 <= m <= _MOST_MULTIPLIER for m in net.multipliers):
            raise InputError(
                f"{part}.multipliers: got {net.multipliers}, expected whole numbers from 1 to {_MOST_MULTIPLIER}"
            )
        if not net.multipliers or any(net.width * m % 32 for m in net.multipliers):
            raise InputError(
                f"{part}: got width {net.width} and multipliers {net.multipliers}, "
                "expected widths that 32 normalisation groups divide"
            )
