"""Japanese Vowels: real speech that ships with the package, see JAPANESE_VOWELS.md."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from diffsda.data.clip import Clips
from diffsda.errors import InputError

FRAMES = 29
"""The longest utterance of both splits."""
SPLITS = ("train", "test")

_FILE = Path(__file__).with_name("japanese_vowels.npz")


def load(split: Literal["train", "test"] = "train") -> Clips:
    """Load the utterances of a split, as they are (no whitening).

    Shapes: x (270 or 370, 29, 12) LPC cepstrum coefficients, zero padded; lengths (N,) 7..29; label speaker
    (N,) 0..8.
    Source: Kudo, Toyama and Shimbo 1999, through the UCI repository.
    Raises: InputError if split is neither train nor test.
    """
    if split not in SPLITS:
        raise InputError(f"split: got {split!r}, expected train or test")
    with np.load(_FILE, allow_pickle=False) as file:
        steps, lengths, speaker, part = (file[name] for name in ("x", "lengths", "speaker", "split"))
    x = np.zeros((len(lengths), FRAMES, steps.shape[1]), np.float32)
    # Row-major order of the kept steps is the order they lie in, so one assignment puts every clip in place.
    x[np.arange(FRAMES)[None] < lengths[:, None]] = steps
    rows = part == SPLITS.index(split)
    return Clips(
        x=x[rows],
        lengths=lengths[rows],
        labels={"speaker": speaker[rows]},
        label_names={"speaker": tuple(f"speaker {i}" for i in range(1, 10))},
        name="japanese_vowels",
        source=f"UCI Japanese Vowels (Kudo, Toyama, Shimbo), {split}",
    )
