"""Judges with a memory: what was judged before is not judged again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from diffsda.errors import InputError
from diffsda.evaluate.judges.cache import Store, digest
from diffsda.evaluate.judges.kinds import (
    Array,
    ClipFeatures,
    Embedder,
    Floats,
    Frames,
    Landmarks,
    SpeechQuality,
    VoiceEmbedder,
    Waves,
)

FRAMES = 256
"""Frames judged between two writes: what a kill can cost."""
CLIPS = 32
WAVES = 16


def remember(
    store: Store, items: Sequence[Array] | Array, judge: Callable[[list[int]], Floats], most: int, *about: Any
) -> Floats:
    """Return a row an item, from the store or from ``judge``, which is given the rows that are new, each once.

    most: items judged between two writes.
    Raises: InputError if there is no item; ValueError if the judge does not return a row an item.
    """
    if not len(items):
        raise InputError("judge: got nothing to look at, expected at least one")
    keys = [digest(np.asarray(item), *about) for item in items]
    first: dict[bytes, int] = {}
    for i, key in enumerate(keys):
        if store.get(key) is None:
            first.setdefault(key, i)
    new = list(first.items())
    for start in range(0, len(new), most):
        part = new[start : start + most]
        rows = np.asarray(judge([i for _, i in part]), np.float64)
        if len(rows) != len(part):
            raise ValueError(f"judge: got {len(rows)} rows for {len(part)} items")
        store.add([key for key, _ in part], rows)
    return np.stack([row for key in keys if (row := store.get(key)) is not None])


class _Named:
    """What a judge says of itself, passed on."""

    def __init__(self, judge: Any, store: Store) -> None:
        self.judge, self.store = judge, store
        self.name: str = judge.name
        self.version: str = judge.version
        self.substitute: bool = judge.substitute


class RememberedLandmarks(_Named):
    """Landmarks with a memory."""

    judge: Landmarks

    def locate(self, frames: Frames) -> Floats:
        """Return key points (N, K, 2) of frames (N, H, W, 3) uint8; NaN where none were found."""
        frames = checked_frames(frames)
        return remember(self.store, frames, lambda rows: self.judge.locate(frames[rows]), FRAMES)


class RememberedEmbedder(_Named):
    """An embedder with a memory."""

    judge: Embedder

    def __init__(self, judge: Embedder, store: Store) -> None:
        super().__init__(judge, store)
        self.threshold = judge.threshold

    def embed(self, frames: Frames) -> Floats:
        """Return vectors (N, E) of frames (N, H, W, 3) uint8; NaN where nobody was found."""
        frames = checked_frames(frames)
        return remember(self.store, frames, lambda rows: self.judge.embed(frames[rows]), FRAMES)


class RememberedVoices(_Named):
    """An embedder of voices with a memory."""

    judge: VoiceEmbedder

    def embed(self, waves: Waves, rate: int) -> Floats:
        """Return vectors (N, E) of N waves (samples,)."""
        held = checked_waves(waves, rate)
        return remember(self.store, held, lambda rows: self.judge.embed([held[i] for i in rows], rate), WAVES, rate)


class RememberedSpeechQuality(_Named):
    """A rater of speech with a memory."""

    judge: SpeechQuality

    def __init__(self, judge: SpeechQuality, store: Store) -> None:
        super().__init__(judge, store)
        self.scales = tuple(judge.scales)

    def rate(self, waves: Waves, rate: int) -> dict[str, Floats]:
        """Return for every scale the ratings (N,) of N waves (samples,)."""
        held = checked_waves(waves, rate)

        def judged(rows: list[int]) -> Floats:
            said = self.judge.rate([held[i] for i in rows], rate)
            return np.stack([said[scale] for scale in self.scales], axis=1)

        table = remember(self.store, held, judged, WAVES, rate)
        return {scale: table[:, i] for i, scale in enumerate(self.scales)}


class RememberedClipFeatures(_Named):
    """Clip features with a memory."""

    judge: ClipFeatures

    def describe(self, clips: Array) -> Floats:
        """Return vectors (N, E) of clips (N, V, ...)."""
        clips = np.asarray(clips, np.float32)
        return remember(self.store, clips, lambda rows: self.judge.describe(clips[rows]), CLIPS)


def checked_frames(frames: Array) -> Frames:
    """Return frames as they came.

    Raises: InputError unless they are (N, H, W, 3) uint8.
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise InputError(f"frames: got {frames.dtype} of shape {frames.shape}, expected uint8 (N, H, W, 3)")
    return frames


def checked_waves(waves: Waves, rate: int) -> list[Array]:
    """Return waves as float32 arrays.

    Raises: InputError unless each is (samples,) of at least one finite sample, and the rate positive.
    """
    if rate < 1:
        raise InputError(f"rate: got {rate}, expected samples a second")
    held = [np.asarray(wave, np.float32) for wave in waves]
    for i, wave in enumerate(held):
        if wave.ndim != 1 or not wave.size or not np.isfinite(wave).all():
            raise InputError(f"wave {i}: got shape {wave.shape}, expected (samples,), finite, at least one")
    return held
