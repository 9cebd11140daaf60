"""Videos, sounds and tables as clips of a model: what they become, its recipe says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diffsda.errors import InputError
from diffsda.export.infer.contents import Contents
from diffsda.recipe import Clips as Form

Array = np.ndarray[Any, Any]


class Videos:
    """A video file is one clip: the first V frames at the recipe's stride, as in evaluation; all where V is open.

    Frames are scaled to the recipe's size by their shorter side and cut to the square in the middle.
    """

    def count(self, path: Path, form: Form | None) -> int | None:
        """Return None: a file is one clip."""
        return None

    def read(self, path: Path, form: Form | None) -> Contents:
        """Decode a clip (1, V, 3, size, size), float32 in [-1, 1]."""
        from diffsda.data.stream import Take
        from diffsda.data.video.pixels import clip_of
        from diffsda.data.video.probe import probe
        from diffsda.data.video.seek import read_frames
        from diffsda.data.video.view import Plan, View

        form = _wanted(form, "video", "a video")
        if form.latent or form.size is None:
            raise InputError("is a video, and the model sees latents; say which first stage made them (--first-stage)")
        if form.frames is None:
            plan = Plan(tuple(range(probe(path).frames)))
            return Contents(path, clip_of(read_frames(path, plan.indices), plan, form.size)[None])
        view = View(frames=form.frames, size=form.size, stride=form.stride, window=form.window)
        if view.window == "run":
            # Without a look at the rest of a file that may be hours long; a short one is counted.
            plan = Plan(tuple(range(0, view.stride * view.frames, view.stride)))
            try:
                return Contents(path, clip_of(read_frames(path, plan.indices), plan, view.size)[None])
            except InputError:
                pass
        total = probe(path).frames
        plan = view.plan(Take(0), total, str(path))
        return Contents(path, clip_of(read_frames(path, plan.indices, total), plan, view.size)[None])


class Sounds:
    """A recording is one clip of log mel spectra, 80 bands at 22.05 kHz: its first V frames; all where V is open."""

    def count(self, path: Path, form: Form | None) -> int | None:
        """Return None: a file is one clip."""
        return None

    def read(self, path: Path, form: Form | None) -> Contents:
        """Return a clip (1, V, 80), float32."""
        from diffsda.data.audio.mel import MELS, log_mel
        from diffsda.data.audio.waves import read_wave

        form = _wanted(form, "audio", "a recording")
        if form.channels != MELS:
            raise InputError(f"is a recording of {MELS} mel bands, expected the model's {form.channels} features")
        mel = log_mel(*read_wave(path))
        return Contents(path, _first(mel, form.frames, "frames")[None])


class Tables:
    """A table is a clip for each of its series, told apart by a column of ids: its first V rows, all where V is open.

    Columns of numbers are the features, in their order; empty cells count as missing. A table with lines or cells that
    cannot be used is no clip: preparing the set says which they are.
    """

    def count(self, path: Path, form: Form | None) -> int | None:
        """Return the number of series, None for one."""
        count = len(self._series(path, form))
        return count if count > 1 else None

    def read(self, path: Path, form: Form | None) -> Contents:
        """Return the series of a table: x (N, V, F), lengths and mask."""
        from diffsda.data.own.windows import Piece, to_arrays

        form = _wanted(form, "series", "a table")
        series = [Piece(one.key, _first(one.values, form.frames, "rows")) for one in self._series(path, form)]
        arrays = to_arrays(series, {}, max(len(piece.values) for piece in series))
        return Contents(path, arrays["x"], arrays.get("lengths"), arrays.get("mask"))

    def _series(self, path: Path, form: Form | None) -> list[Any]:
        from diffsda.data.own.columns import choose
        from diffsda.data.own.rows import to_series
        from diffsda.data.own.table_files import read_table
        from diffsda.data.problems import Problems

        problems = Problems()
        table = read_table(path, path.stem, problems)
        series: list[Any] = []
        if table is not None:
            roles = choose(table, None, None, lambda words: None)
            if form is not None and len(roles.values) != form.channels:
                names = ", ".join(roles.values[:8]) + (", ..." if len(roles.values) > 8 else "")
                raise InputError(
                    f"has {len(roles.values)} columns of numbers ({names}), expected the model's {form.channels}"
                )
            series = to_series([table], roles, problems, lambda words: None)
        for problem in problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            where = "" if problem.line is None else f"line {problem.line}: "
            raise InputError(f"{where}{problem.reason}{more}")
        return series


def _wanted(form: Form | None, modality: str, what: str) -> Form:
    if form is None or form.modality != modality:
        given = "nothing of the kind" if form is None else form.modality
        raise InputError(f"is {what}, expected clips for a model of {given}")
    return form


def _first(values: Array, frames: int | None, what: str) -> Array:
    if frames is not None and len(values) < frames:
        raise InputError(f"has {len(values)} {what}, expected at least {frames}, a clip's")
    return values if frames is None else values[:frames]
