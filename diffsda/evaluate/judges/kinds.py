"""What a judge of each kind does, whoever it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
Frames = NDArray[np.uint8]
Waves = Sequence[NDArray[Any]]


class Judge(Protocol):
    """What every judge says of itself."""

    @property
    def name(self) -> str:
        """What the judge is called in tables and options."""

    @property
    def version(self) -> str:
        """What decides its output besides the input: packages, weights, settings. Part of cache keys and tables."""

    @property
    def substitute(self) -> bool:
        """Whether it stands in for the judge of the paper, so that its numbers are on another scale."""


@runtime_checkable
class Landmarks(Judge, Protocol):
    """Finds key points: of a face, or of a body."""

    def locate(self, frames: Frames) -> Floats:
        """Return key points (N, K, 2) of frames (N, H, W, 3), x and y in pixels; NaN for points that were not found.

        A frame in which nothing was found is a row of NaN. A face has all its points or none; a body may have some.
        """


@runtime_checkable
class Embedder(Judge, Protocol):
    """Says who is in a frame, as a vector."""

    @property
    def threshold(self) -> float:
        """Euclidean distance below which two vectors are one person; NaN where the judge's authors give none."""

    def embed(self, frames: Frames) -> Floats:
        """Return vectors (N, E) of frames (N, H, W, 3); a row of NaN where nobody was found."""


@runtime_checkable
class VoiceEmbedder(Judge, Protocol):
    """Says who speaks, as a vector."""

    def embed(self, waves: Waves, rate: int) -> Floats:
        """Return vectors (N, E) of N waves (samples,) in [-1, 1]; a row of NaN where a wave holds no voice."""


@runtime_checkable
class SpeechQuality(Judge, Protocol):
    """Rates how speech sounds, without the original."""

    @property
    def scales(self) -> tuple[str, ...]:
        """The names of what is rated."""

    def rate(self, waves: Waves, rate: int) -> dict[str, Floats]:
        """Return for every scale the ratings (N,) of N waves (samples,) in [-1, 1]; NaN where one cannot be rated."""


@runtime_checkable
class ClipFeatures(Judge, Protocol):
    """Describes a clip as a vector, for distances between sets of clips."""

    def describe(self, clips: Array) -> Floats:
        """Return vectors (N, E) of clips (N, V, ...) in people's units: video (N, V, C, H, W) in [-1, 1]."""


@runtime_checkable
class Reader(Judge, Protocol):
    """Reads the labels of a clip from the clip."""

    @property
    def factors(self) -> Mapping[str, tuple[str, ...]]:
        """For each label the names of its classes, in the order of the probabilities."""

    @property
    def accuracy(self) -> Mapping[str, float]:
        """For each label the share it read right of clips held out of its training."""

    def read(self, clips: Array, lengths: Array | None = None) -> dict[str, Floats]:
        """Return for each label probabilities (N, classes) of clips (N, V, ...) in people's units."""

    def read_frames(self, clips: Array, lengths: Array | None = None) -> dict[str, Floats]:
        """Return, for labels it was trained to read of single frames, probabilities (N, V, classes); NaN in padding."""
