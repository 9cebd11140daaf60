"""What a protocol is given: a model, clips, judges, and how to go about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsda.disentangler import Disentangler, StartNoise
from diffsda.errors import InputError
from diffsda.tasks.batches import Track, silent

if TYPE_CHECKING:
    from diffsda.data.clip import Clips
    from diffsda.evaluate.judges.shelf import Shelf
    from diffsda.prior.latent import LatentPrior

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One seed of one protocol.

    ``fit`` and ``test`` are in the model's units, with their labels. ``back`` takes clips (N, V, ...) and lengths, from
    the model's units to people's: pixels in [-1, 1] for video, log mel, values of a series.
    """

    model: Disentangler
    fit: Clips
    """The training part: what judges, probes and baselines are fitted on."""
    test: Clips
    """The part that is scored."""
    back: Callable[[Array, Array | None], Array]
    shelf: Shelf
    """Judges by kind, cached on disk."""
    static: tuple[str, ...] = ()
    """Labels a clip keeps: who, what."""
    dynamic: tuple[str, ...] = ()
    """Labels of what happens in it."""
    seed: int = 0
    steps: int | None = None
    batch: int = 64
    noise: StartNoise | None = None
    """Where swaps start from; left open, as in the model's own evaluation (its ``policy``)."""
    pairs: tuple[Array, Array] | None = None
    """Rows of ``test`` in pairs: x and its partner; left out, a protocol draws its own from ``seed``."""
    originals: Array | None = None
    """For a model of latents with a first stage: the test part's pixels (N, V, C, H, W) in [-1, 1]."""
    prior: LatentPrior | None = None
    split: str = "test"
    """Which part of the set ``test`` is."""
    folder: Path | None = None
    """The prepared folder the clips came from, where lists of trials and swap targets lie."""
    as_published: bool = False
    """Count as the authors' code does, its slips included."""
    track: Track = silent
    options: dict[str, Any] = field(default_factory=dict)
    """A protocol's own settings."""

    @property
    def start(self) -> StartNoise:
        """Where swaps start from."""
        return self.model.policy if self.noise is None else self.noise

    def label(self, name: str, part: str = "test") -> Array:
        """Return a label (N,) of the clips of a part.

        Raises: InputError if the clips do not have it.
        """
        clips: Clips = getattr(self, part)
        if name not in clips.labels:
            known = ", ".join(clips.labels) or "no labels"
            raise InputError(f"label: got {name!r}, expected one of those of the {part} clips: {known}")
        return clips.labels[name]
