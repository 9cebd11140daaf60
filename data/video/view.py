"""How a clip is taken from a longer video: which frames, and what is changed about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from diffsda.data.stream import Take
from diffsda.errors import InputError

WINDOWS = ("run", "anywhere")


@dataclass(frozen=True, slots=True)
class Plan:
    """One clip to be taken: the frames, counted from 0 in the order they are shown, and how they are changed."""

    indices: tuple[int, ...]
    """Rising, or falling where the clip is played backwards."""
    mirror: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    """Factors; 1 changes nothing."""
    hue: float = 0.0
    """Degrees by which colours turn."""

    @property
    def backwards(self) -> bool:
        """Whether the frames come last to first."""
        return self.indices[0] > self.indices[-1]

    @property
    def recoloured(self) -> bool:
        """Whether colours are changed."""
        return (self.brightness, self.contrast, self.saturation, self.hue) != (1.0, 1.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True)
class View:
    """How clips are taken from videos.

    ``run`` takes frames at a stride from a random start; where a video is too short for that, the stride shrinks until
    it fits. ``anywhere`` takes distinct random frames in their order.
    Source: the authors' data sets (run; flip, time flip and jitter of 0.1 in their TaiChi training); paper, appendix B
    ("randomly select frames": anywhere). Differs: their MUG uses stride 1 or 2, nothing between, from 31 frames on.
    Raises: InputError if a value is out of range.
    """

    frames: int
    """V."""
    size: int
    """Height and width of a frame in pixels; 0 where frames are not images."""
    stride: int = 1
    window: Literal["run", "anywhere"] = "run"
    flip: bool = False
    """Mirror half of the clips."""
    reverse: bool = False
    """Play half of the clips backwards."""
    jitter: float = 0.0
    """Largest change of brightness, contrast and saturation, as a share, and of hue, as a part of the circle."""

    def __post_init__(self) -> None:
        for name, least in (("frames", 1), ("size", 0), ("stride", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{name}: got {value!r}, expected a whole number from {least} on")
        if self.window not in WINDOWS:
            raise InputError(f"window: got {self.window!r}, expected one of {', '.join(WINDOWS)}")
        if not 0 <= self.jitter <= 0.5:
            raise InputError(f"jitter: got {self.jitter!r}, expected a number from 0 to 0.5")

    def plan(self, take: Take, frames: int, name: str = "video") -> Plan:
        """Return what a take of a video with so many frames is.

        The same take gives the same plan. Without a seed it is the fixed view: from frame 0 on, at the stride that
        training uses (for ``anywhere`` the largest that fits), nothing changed. Every random decision has a draw of
        its own, so options do not change what the others draw.
        Raises: InputError, by the video's name, if it has fewer frames than a clip.
        """
        if frames < self.frames:
            raise InputError(
                f"{name}: got {frames} frames, expected at least {self.frames}, a clip's; prepare the set again for "
                "that, or train on shorter clips (clips.frames)"
            )
        stride = self._stride(frames)
        if take.seed is None:
            return Plan(tuple(range(0, stride * self.frames, stride)))
        if take.seed < 0:
            raise InputError(f"seed: got {take.seed}, expected a whole number from 0 on")
        draw = np.random.default_rng((take.seed, take.item))
        start = int(draw.integers(frames - stride * (self.frames - 1)))
        mirrored, backwards = (bool(draw.integers(2)) for _ in range(2))
        brightness, contrast, saturation, hue = (float(v) for v in draw.uniform(-self.jitter, self.jitter, 4))
        if self.window == "anywhere":
            indices = tuple(sorted(draw.choice(frames, self.frames, replace=False).tolist()))
        else:
            indices = tuple(range(start, start + stride * self.frames, stride))
        return Plan(
            indices[::-1] if self.reverse and backwards else indices,
            self.flip and mirrored,
            1 + brightness,
            1 + contrast,
            1 + saturation,
            360 * hue,
        )

    def _stride(self, frames: int) -> int:
        most = (frames - 1) // max(self.frames - 1, 1)
        return max(1, most if self.window == "anywhere" else min(self.stride, most))
