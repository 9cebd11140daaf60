"""A prepared folder: what ``diffsda prepare`` leaves, described by its dataset.json."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from diffsda.atomic import atomic_write
from diffsda.data import arrays
from diffsda.data.clip import Clips
from diffsda.errors import InputError

if TYPE_CHECKING:
    from diffsda.data.stream import Stream
    from diffsda.recipe import Clips as Form

NAME = "dataset.json"
FORMAT = 1
KINDS = ("arrays", "video", "frames")
SPLITS = ("train", "val", "test")
Loader = Literal["auto", "dali", "pyav"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What a prepared folder holds.

    ``kind`` says how its splits are stored: ``arrays`` as train.npz and so on, ``video`` as an index train.jsonl of
    files, ``frames`` as train/frames.npy with train/clips.jsonl. Counts in ``splits`` are items: clips, or files to
    take clips from.
    """

    kind: str
    name: str
    modality: str
    frames: int | None
    """Frames V a clip is taken with; None where clips vary in length."""
    channels: int
    """Image channels, or features of a vector step."""
    size: int | None = None
    """Height and width in pixels or latent cells; None for vectors."""
    splits: dict[str, int] = field(default_factory=dict)
    label_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Mean and standard deviation a channel, of the training part."""
    dtype: str = "float32"
    options: dict[str, Any] = field(default_factory=dict)
    """What decided the content."""
    source: str = ""
    licence: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"kind: got {self.kind!r}, expected one of {', '.join(KINDS)}")
        if not self.splits or any(split not in SPLITS for split in self.splits):
            raise InputError(f"splits: got {', '.join(self.splits) or 'none'}, expected some of {', '.join(SPLITS)}")

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write dataset.json, the last of a folder's files: with it, the folder is complete."""
        plain = dataclasses.asdict(self)
        mean_std = self.statistics
        plain["statistics"] = None if mean_std is None else {"mean": list(mean_std[0]), "std": list(mean_std[1])}
        text = json.dumps({"format": FORMAT, **plain}, indent=1) + "\n"
        path = Path(folder) / NAME
        atomic_write(path, lambda file: file.write(text.encode()))
        return path

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Dataset:
        """Read a folder's dataset.json.

        Raises: InputError if there is none (the folder is unfinished, or no prepared one) or it is not usable.
        """
        path = Path(folder) / NAME
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(
                f"{folder}: holds no {NAME}, expected a prepared folder; run `diffsda prepare`, again if it was stopped"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path}: cannot be read ({error}), expected what `diffsda prepare` writes") from None
        if not isinstance(plain, dict) or plain.get("format") != FORMAT:
            found = plain.get("format") if isinstance(plain, dict) else type(plain).__name__
            raise InputError(f"{path}: got format {found!r}, expected {FORMAT}; prepare the data set again")
        try:
            return cls(**_typed(plain))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: is not usable ({error}), expected what `diffsda prepare` writes") from None


def is_prepared(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a prepared folder."""
    return (Path(path) / NAME).is_file()


def open_prepared(
    folder: str | os.PathLike[str],
    split: str,
    form: Form | None = None,
    *,
    loader: Loader = "auto",
    device: str = "cpu",
) -> Clips | Stream:
    """Open a split of a prepared folder: arrays into memory, the rest to be read while it is used.

    form: the clips a recipe asks for (frames, size, how they are taken); left out, as the folder was prepared.
    loader: what reads video: auto, dali or pyav; it hands over to ``device``.
    Raises: InputError if the folder, the split or the form will not do; MissingPackage without a decoder.
    """
    folder = Path(folder)
    held = Dataset.read(folder)
    if split not in held.splits:
        raise InputError(f"split: got {split!r} of {folder}, expected one of {', '.join(held.splits)}")
    if held.kind == "arrays":
        return _named(arrays.read(folder / f"{split}.npz"), held, split)
    from diffsda.data.frames import FrameStore
    from diffsda.data.video.footage import VideoSet
    from diffsda.data.video.view import View

    frames = held.frames if form is None or form.frames is None else form.frames
    size = held.size if form is None or form.size is None else form.size
    if frames is None:
        raise InputError(
            f"{folder}: does not say how many frames a clip has, expected them in the recipe: clips.frames"
        )
    ways = (
        {}
        if form is None
        else {name: getattr(form, name) for name in ("stride", "window", "flip", "reverse", "jitter")}
    )
    view = View(frames=frames, size=size or 0, **ways)
    if held.kind == "frames":
        return FrameStore(folder, split, view)
    return VideoSet(folder, split, view, loader=loader, device=device)


def in_memory(stream: Stream, most: int = 4 << 30) -> Clips:
    """Read the fixed view of every item of a stream.

    most: bytes that may be taken.
    Raises: InputError if that is not enough.
    """
    from diffsda.data.stream import Take

    needed = 4 * len(stream) * int(np.prod(stream.shape))
    if needed > most:
        raise InputError(
            f"{stream.name}: {len(stream)} clips of {stream.shape} need {needed / 2**30:.1f} GiB of memory, expected "
            f"at most {most / 2**30:.1f}; use `diffsda infer`, which reads as it goes, or fewer clips"
        )
    starts = range(0, len(stream), 16)
    takes = ([Take(item) for item in range(start, min(start + 16, len(stream)))] for start in starts)
    x = np.concatenate(list(stream.batches(takes)))
    return Clips(x, labels=stream.labels(), name=stream.name, source=stream.source)


def _named(clips: Clips, held: Dataset, split: str) -> Clips:
    names = {label: words for label, words in held.label_names.items() if label in clips.labels}
    return dataclasses.replace(clips, label_names=names, name=held.name, source=f"{held.source or held.name}, {split}")


def _typed(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a dataset.json as the class holds them."""
    values = {name: value for name, value in plain.items() if name != "format"}
    known = {f.name for f in dataclasses.fields(Dataset)}
    if unknown := sorted(set(values) - known):
        raise InputError(f"got {', '.join(unknown)}, expected only {', '.join(sorted(known))}")
    values["splits"] = {str(split): int(count) for split, count in values["splits"].items()}
    values["label_names"] = {str(k): tuple(map(str, words)) for k, words in values.get("label_names", {}).items()}
    if values.get("statistics") is not None:
        values["statistics"] = tuple(tuple(map(float, values["statistics"][name])) for name in ("mean", "std"))
    return values
