"""Series: feature vectors over time, a level and a frequency kept, a phase and a drift that move."""

from __future__ import annotations

import numpy as np

from diffsda.data.check import Array, past_end
from diffsda.data.clip import Clips
from diffsda.data.synthetic.items import check_whole, generators, pair_factors, smooth_curve

LEVELS = {"low": -1.0, "middle": 0.0, "high": 1.0}
FREQUENCIES = {"slow": 1.0, "medium": 2.0, "fast": 3.5}
"""Turns in 24 steps."""
PHASES = ("first quarter", "second quarter", "third quarter", "last quarter")
DRIFTS = ("falling", "rising")

_STEPS = 24


def series(n: int, frames: int = 24, features: int = 6, seed: int = 0, varied: bool = False) -> Clips:
    """Make n series.

    Shapes: x (n, frames, features), about -2.5..2.5. With ``varied`` clips are half as long to full length.
    Static labels (n,): level, frequency. Dynamic labels (n, frames): phase (in quarters), drift.
    factors: static (n, 2), the level and the turns in 24 steps; dynamic (n, frames, 2), phase in radians (a
    random start and a slow wander) and drift in -1..1.
    Raises: InputError if an argument is too small.
    """
    check_whole("frames", frames, 2)
    levels, turns = list(LEVELS.values()), list(FREQUENCIES.values())
    kept, dynamic, rising, lengths = [], [], [], []
    for draw in generators(n, seed):
        kept.append((draw.integers(len(levels)), draw.integers(len(turns))))
        # Drawn even when not used: the rest of an item must not depend on ``varied``.
        lengths.append(draw.integers(max(2, (frames + 1) // 2), frames + 1))
        phase = draw.uniform(0, 2 * np.pi) + 0.8 * smooth_curve(draw, frames)
        # One step more than there are frames: the last frame has a direction too.
        drift = smooth_curve(draw, frames + 1)
        dynamic.append(np.stack([phase, drift[:-1]], 1))
        rising.append(np.diff(drift) > 0)
    label = np.array(kept)
    factors = {
        "static": np.array([(levels[level], turns[turn]) for level, turn in kept]),
        "dynamic": np.array(dynamic),
    }
    quarter = (factors["dynamic"][..., 0] % (2 * np.pi) // (np.pi / 2)).astype(np.int64) % 4
    return Clips(
        x=render(factors["static"], factors["dynamic"], features),
        lengths=np.array(lengths) if varied else None,
        labels={"level": label[:, 0], "frequency": label[:, 1], "phase": quarter, "drift": np.array(rising)},
        label_names={
            "level": tuple(LEVELS),
            "frequency": tuple(FREQUENCIES),
            "phase": PHASES,
            "drift": DRIFTS,
        },
        factors=factors,
        name="series",
        source=f"made: series, seed {seed}",
    )


def render(static: Array, dynamic: Array, features: int = 6) -> Array:
    """Return series (N, V, features), float32, from static (N, 2) and dynamic (N, V, 2).

    x[v, f] = level cos(0.7 f) + sin(2 pi turns v / 24 + phase[v] + 1.1 f) + 0.5 cos(1.9 f) drift[v]
    """
    check_whole("features", features, 1)
    step, feature = np.arange(dynamic.shape[1])[None, :, None], np.arange(features)[None, None, :]
    level, turns = static[:, None, :1], static[:, None, 1:]
    phase, drift = dynamic[..., :1], dynamic[..., 1:]
    wave = np.sin(2 * np.pi * turns * step / _STEPS + phase + 1.1 * feature)
    x = level * np.cos(0.7 * feature) + wave + 0.5 * np.cos(1.9 * feature) * drift
    return x.astype(np.float32)


def swap_target(a: Clips, b: Clips) -> Array:
    """Return x of a's level and frequency with b's phase, drift and lengths. Raises: InputError."""
    static, dynamic = pair_factors(a, b, "series")
    x = render(static, dynamic, features=a.x.shape[-1])
    if b.lengths is not None:
        x[past_end(b.lengths, b.frames)] = 0
    return x
