"""A set of one's own array files: checked, put together, split."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from diffsda.data import arrays
from diffsda.data.check import Array
from diffsda.data.clip import Clips
from diffsda.data.frames_moments import Moments
from diffsda.data.own import splitting
from diffsda.data.own.infer import Found
from diffsda.data.own.settings import Settings
from diffsda.data.own.twins import Twins
from diffsda.data.prepared import SPLITS, Dataset
from diffsda.data.problems import Problems
from diffsda.data.series.parts import Parts, Tell, leave
from diffsda.data.stream import Watch
from diffsda.errors import InputError


def build(found: Found, out: Path, ask: Settings, problems: Problems, tell: Tell, watch: Watch) -> Dataset:
    """Put the clips of array files together into a prepared folder; return what its dataset.json says.

    Every file is checked as ``data.arrays.read`` does. Clips are split one by one, equal ones together, or by the label
    that ``id`` names, all clips of a value on one side; files called train, val or test, or in folders called so, keep
    their split. A file that holds the same bytes as another is left out; the training part keeps it.
    Raises: InputError if nothing can be used.
    """
    clips, sides = _read(found, problems, watch)
    if not clips:
        raise InputError(f"{found.root}: no file holds clips; see what was told above")
    frame = clips[0].x.shape[2:]
    video = len(frame) == 3
    if video and frame[1] != frame[2]:
        raise InputError(f"{found.root}: got frames {frame[1]} x {frame[2]}, expected squares; cut them first")
    parts = _parts(clips, sides, ask, tell)
    if not len(parts.get("train", {"x": ()})["x"]):
        raise InputError(f"{ask.name}: no clip is left for training; see what was told above")
    if video and min(part["x"].min() for part in parts.values()) >= 0:
        tell("no pixel is below 0, expected pixels in [-1, 1]: 2 x - 1 for [0, 1], x / 127.5 - 1 for bytes")
    train = parts["train"]
    held = Dataset(
        kind="arrays",
        name=ask.name,
        modality=ask.modality or ("video" if video else "series"),
        frames=None if "lengths" in train else int(train["x"].shape[1]),
        channels=int(frame[0]),
        size=int(frame[1]) if video else None,
        splits={"train": 1},
        statistics=None if video else _moments(train).statistics(),
        options={**ask.options(), "id": ask.id},
        source=f"arrays in {ask.source.name}",
    )
    return leave(out, held, parts, problems)


def _read(found: Found, problems: Problems, watch: Watch) -> tuple[list[Clips], list[str | None]]:
    clips: list[Clips] = []
    sides: list[str | None] = []
    twins = Twins(found.root, problems)
    paths = splitting.training_first(found.paths, lambda path: _side(path.relative_to(found.root)) or "train")
    for path in watch(paths, len(paths), "files"):
        if twins.again(path):
            continue
        try:
            read = arrays.read(path)
        except InputError as error:
            problems.add(path, str(error).removeprefix(f"{path}: "))
            continue
        if clips and read.x.shape[2:] != clips[0].x.shape[2:]:
            problems.add(
                path, f"holds frames {read.x.shape[2:]}, expected {clips[0].x.shape[2:]} as the others; left out"
            )
            continue
        twins.use(path)
        clips.append(read)
        sides.append(_side(path.relative_to(found.root)))
    return clips, sides


def _side(place: Path) -> str | None:
    """Return the split that a file's folder or its own name says it is of."""
    return splitting.split_of(place) or splitting.split_of(Path(place.stem) / "x")


def _parts(clips: list[Clips], sides: list[str | None], ask: Settings, tell: Tell) -> Parts:
    frames = max(each.frames for each in clips)
    names = [name for name in clips[0].labels if all(name in each.labels for each in clips)]
    if ask.id is not None and (ask.id not in names or clips[0].labels[ask.id].ndim != 1):
        raise InputError(
            f"--id: got {ask.id!r}, expected a label a clip that every file has: {', '.join(names) or 'none'}"
        )
    together = {
        "x": np.concatenate([_padded(each.x, frames) for each in clips]),
        "lengths": np.concatenate([_lengths(each) for each in clips]),
        "mask": np.concatenate([_padded(_mask(each), frames) for each in clips]),
    }
    for name in names:
        per_clip = {each.labels[name].ndim for each in clips} == {1}
        if per_clip or {each.labels[name].ndim for each in clips} == {2}:
            parts = [each.labels[name] if per_clip else _padded(each.labels[name], frames, -1) for each in clips]
            together[name] = np.concatenate(parts)
    if (together["lengths"] == frames).all():
        del together["lengths"]
    if not together["mask"].any():
        del together["mask"]
    if any(side is not None for side in sides):
        split = np.concatenate([np.full(len(each), side or "train", object) for each, side in zip(clips, sides)])
    else:
        groups = _contents(together) if ask.id is None else [str(value) for value in together[ask.id].tolist()]
        split = np.array(splitting.draw(groups, ask.val_share, ask.test_share, ask.seed), object)
    return {
        side: {name: value[split == side] for name, value in together.items()}
        for side in SPLITS
        if (split == side).any()
    }


def _contents(together: dict[str, Array]) -> list[str]:
    """Return a digest of every clip, the same for clips that are equal in all their frames."""
    parts = [together[name] for name in ("x", "lengths", "mask") if name in together]
    return [hashlib.sha256(b"".join(part[row].tobytes() for part in parts)).hexdigest() for row in range(len(parts[0]))]


def _padded(values: Array, frames: int, fill: int = 0) -> Array:
    more = [(0, 0), (0, frames - values.shape[1]), *[(0, 0)] * (values.ndim - 2)]
    return np.pad(values, more, constant_values=fill)


def _lengths(clips: Clips) -> Array:
    return np.full(len(clips), clips.frames) if clips.lengths is None else clips.lengths


def _mask(clips: Clips) -> Array:
    return np.zeros(clips.x.shape, np.uint8) if clips.mask is None else clips.mask.astype(np.uint8)


def _moments(part: dict[str, Array]) -> Moments:
    from diffsda.data.own.windows import moments

    return moments(part)
