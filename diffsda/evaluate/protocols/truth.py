"""What a perfect swap would be, to the pixel, for the sets that can say."""

from __future__ import annotations

from diffsda.data.sprites.design import DYNAMIC, STATIC, target_rows
from diffsda.data.synthetic import series, shapes, tones
from diffsda.errors import InputError
from diffsda.evaluate.job import Job
from diffsda.evaluate.lengths import Array
from diffsda.evaluate.pairs import Rows
from diffsda.evaluate.protocols.swaps import clips_at

_DRAWN = {"moving_shapes": shapes.swap_target, "tones": tones.swap_target, "series": series.swap_target}


class Truth:
    """Gives the truth (n, V, ...) of swaps, in people's units, as long as their dynamics donors.

    Sets that are made on the fly draw it from their factors; of sprites, every swap of two clips of a split is another
    clip of that split.
    Raises: InputError, with the reason, for sets that cannot say.
    """

    def __init__(self, job: Job, pairs: Rows) -> None:
        self.job, self.pairs, clips = job, pairs, job.test
        self.rows: Array | None = None
        if set(STATIC) | set(DYNAMIC) <= set(clips.labels):
            self.rows = target_rows(clips.labels, *pairs)
        elif clips.name not in _DRAWN or not clips.factors or job.model.recipe.clips.latent:
            raise InputError(
                f"truth: got {clips.name}, which does not say what swaps should look like; expected sprites, or one of "
                f"{', '.join(_DRAWN)} for a model that sees clips as they are"
            )

    def part(self, rows: slice) -> Array:
        """Return the truth of some swaps."""
        static, dynamic = self.pairs[0][rows], self.pairs[1][rows]
        if self.rows is not None:
            return clips_at(self.job, self.rows[rows]).x
        clips = self.job.test
        return _DRAWN[clips.name](clips.select(static), clips.select(dynamic))
