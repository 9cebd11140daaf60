"""Which clips make up which step: a pure function of seed and step, so that resuming needs no state."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def seed_for(*words: int) -> int:
    """Mix whole numbers (seed, step, stream) into one independent 63-bit seed."""
    # Their number goes in as well: SeedSequence takes (5,) and (5, 0, 0) for the same.
    mixed = np.random.SeedSequence((len(words), *words))
    return int(mixed.generate_state(1, np.uint64)[0] >> np.uint64(1))


class Order:
    """Shuffle clips anew every epoch and deal them out in full batches, across epoch borders."""

    def __init__(self, clips: int, batch: int, seed: int) -> None:
        self.clips, self.batch, self.seed = clips, batch, seed
        self._permutation = lru_cache(maxsize=2)(self._shuffle)

    @property
    def steps_per_epoch(self) -> int:
        """Steps it takes to see every clip once (the last one reaches into the next epoch)."""
        return -(-self.clips // self.batch)

    def indices(self, step: int) -> np.ndarray:
        """Return the clips (batch,) of step ``step``."""
        position = np.arange(step * self.batch, (step + 1) * self.batch, dtype=np.int64)
        epochs, places = position // self.clips, position % self.clips
        parts = [self._permutation(int(e))[places[epochs == e]] for e in np.unique(epochs)]
        return np.concatenate(parts)

    def _shuffle(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(self.clips)
