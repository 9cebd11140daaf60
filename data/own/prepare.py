"""From a folder of one's own files to a prepared set, and a recipe to start from."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffsda.data.frames_format import CLIPS, read_index
from diffsda.data.own import array_set, recipe_draft, sounds, splitting, table_set, videos
from diffsda.data.own.infer import look
from diffsda.data.own.settings import Settings
from diffsda.data.prepared import Dataset
from diffsda.data.problems import Problems
from diffsda.data.series.parts import Tell, refuse_finished
from diffsda.data.stream import Watch, unwatched
from diffsda.data.video.entry import read_entries
from diffsda.errors import InputError
from diffsda.recipe import Recipe

SMOOTH = 12.5
"""Frames a second that motion is taken at from videos that have more."""


@dataclass(frozen=True)
class Prepared:
    """What came of it: the set, a recipe to start from, and where both are."""

    folder: Path
    dataset: Dataset
    recipe: Recipe

    @property
    def command(self) -> str:
        """The command that trains a model on the set."""
        recipe, run = self.folder / recipe_draft.NAME, Path("runs") / self.dataset.name
        return shlex.join(["diffsda", "train", str(recipe), "--data", str(self.folder), "--out", str(run)])

    def summary(self) -> dict[str, Any]:
        """Return what is worth knowing, fit for JSON."""
        held = self.dataset
        shape = {"frames": held.frames, "channels": held.channels, "size": held.size}
        kind = {"modality": held.modality, "kind": held.kind, "splits": held.splits}
        return {"folder": str(self.folder), **kind, **shape, "command": self.command}


def prepare_own(
    ask: Settings,
    out: Path,
    *,
    problems: Problems | None = None,
    tell: Tell = lambda words: None,
    watch: Watch = unwatched,
) -> Prepared:
    """Turn a folder (or a file) of videos, sounds, tables or arrays into a prepared folder with a recipe.json.

    What is wrong with single files goes into ``problems``; the rest goes on. The same command goes on with what a
    stopped one left.
    Raises: InputError if nothing can be used, an option will not do, or ``out`` is finished and ``overwrite`` false;
    SaveError; MissingPackage for what reads such files.
    """
    problems = Problems() if problems is None else problems
    splitting.check_shares(ask.val_share, ask.test_share)
    if ask.frames is not None and ask.frames < 2:
        raise InputError(f"--frames: got {ask.frames}, expected at least 2: a sequence needs something that can change")
    found = look(ask.source, ask.modality, tell, without=out)
    refuse_finished(out, ask.overwrite)
    if found.kind == "videos":
        held = videos.build(ask.source, out, ask, problems, tell, watch)
    elif found.kind == "sounds":
        held = sounds.build(found, out, ask, problems, tell, watch)
    else:
        build = table_set.build if found.kind == "tables" else array_set.build
        held = build(found, out, ask, problems, tell, watch)
    recipe = _recipe(out, held, tell)
    recipe_draft.write_draft(recipe, out, tell)
    return Prepared(out, held, recipe)


def _recipe(out: Path, held: Dataset, tell: Tell) -> Recipe:
    clips, total, stride = held.splits["train"], 0, 1
    if held.kind == "video":
        entries = read_entries(out / "train.jsonl")
        total = sum(entry.frames for entry in entries)
        fps = float(np.median([entry.fps for entry in entries]))
        stride = max(1, round(fps / SMOOTH))
        if stride > 1:
            tell(f"videos have {fps:g} frames a second: clips take one in {stride} (clips.stride in the recipe)")
    elif held.kind == "frames":
        total = read_index(out / "train" / CLIPS)[0].total
    else:
        with np.load(out / "train.npz", allow_pickle=False) as arrays:
            total = int(arrays["lengths"].sum()) if "lengths" in arrays else clips * arrays["x"].shape[1]
    recipe = recipe_draft.draft(held, clips=clips, total=total, stride=stride)
    tell(
        f"recipe: {recipe.backbone.kind} of width {recipe.backbone.width}, S = {recipe.encoder.static}, "
        f"D = {recipe.encoder.dynamic}, {recipe.optim.steps} steps of {recipe.optim.batch} clips, for {clips} clips "
        f"with {total} frames"
    )
    return recipe
