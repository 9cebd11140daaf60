"""Whole videos through a first stage into a cache of latents: encoded once, trained on many times."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsda.data.frames import FrameWriter
from diffsda.data.frames_begun import begin, end
from diffsda.data.frames_format import CLIPS, FRAMES, bytes_of, read_index, stored, to_float
from diffsda.data.frames_moments import Moments
from diffsda.data.own.recipe_draft import draft, write_draft
from diffsda.data.prepared import SPLITS, Dataset
from diffsda.data.problems import Problems
from diffsda.data.stream import Watch, unwatched
from diffsda.errors import InputError
from diffsda.firststage.autoencoder import Autoencoder
from diffsda.firststage.latents import LatentSpace
from diffsda.tasks.footage import Chunk, Footage, footage_of

Tell = Callable[[str], None]
PENDING = 2
"""Encoded chunks that wait to be written while the next ones are encoded."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a cache is to be."""

    size: int = 256
    """Height and width of the pixels that are encoded."""
    dtype: str = "bf16"
    """What latents are stored as: bf16, float16 or float32."""
    tile: int | None = None
    """Frames that go through the first stage at once; None takes what suits the device."""
    loader: str = "auto"
    overwrite: bool = False


def cache_latents(
    data: str | Path,
    first_stage: Autoencoder,
    out: Path,
    wanted: Wanted,
    *,
    name: str = "",
    problems: Problems | None = None,
    tell: Tell = lambda words: None,
    watch: Watch = unwatched,
) -> Dataset:
    """Encode every frame of a set, in order, and leave a prepared folder of latents; return what dataset.json says.

    The folder gets a recipe.json to start from as well.

    data: a prepared folder of videos, or clips of pixels by name or file. first_stage: on the device to work on; its
    continuous latents are kept as they are, and their statistics over the training part beside them. name: of the
    first stage, for the record. The same call goes on with what a stopped one left.
    Raises: InputError if the set has no pixels of that size or ``out`` holds something else, SaveError if the disk is
    full; files that cannot be decoded go into ``problems`` and are left out.
    """
    problems = Problems() if problems is None else problems
    stage = first_stage.stage
    if wanted.size % stage.factor:
        raise InputError(f"--size: got {wanted.size}, expected a multiple of {stage.factor}, what a latent cell covers")
    stored(wanted.dtype)
    footage = footage_of(data, wanted.size, loader=wanted.loader, device=str(first_stage.device))
    cells = wanted.size // stage.factor
    shape = (stage.latent, cells, cells)
    digest = first_stage.digest()
    _tell_plan(footage, shape, wanted.dtype, out, tell)
    # The tile is left out: frames are encoded each by itself, and whose memory ran out goes on with fewer at once.
    what = {"first_stage": digest, "size": wanted.size, "dtype": wanted.dtype, "clips": footage.fingerprint()}
    if begin(out, what, overwrite=wanted.overwrite):
        tell(f"going on with {out}")
    space = LatentSpace(first_stage, tile=wanted.tile)
    meter = _Meter(footage.frames, tell)
    splits = {}
    for split in footage.splits:
        with FrameWriter(out / split, shape, wanted.dtype) as writer:
            _Filling(space, footage, split, writer, meter, problems).fill(watch)
            splits[split] = len(writer)
    if not splits.get("train"):
        raise InputError(f"{out}: no clip is left for training; see what was told above")
    meter.end()
    moments = measure(out / "train", stage.latent, wanted.dtype)
    _tell_degenerate(moments, wanted.dtype, tell)
    held = dataclasses.replace(
        footage.about,
        kind="frames",
        channels=stage.latent,
        size=cells,
        splits={split: splits[split] for split in SPLITS if splits.get(split)},
        statistics=moments.statistics(),
        dtype=wanted.dtype,
        options={"first_stage": name, "first_stage_digest": digest, "factor": stage.factor, "pixels": wanted.size},
    )
    total = read_index(out / "train" / CLIPS)[0].total
    write_draft(draft(held, clips=held.splits["train"], total=total, latent=True), out, tell)
    problems.write(out)
    held.write(out)
    end(out)
    return held


def measure(folder: Path, channels: int, dtype: str) -> Moments:
    """Return mean and deviation of every channel over all frames of a folder, as they are stored."""
    moments = Moments(channels)
    if not read_index(folder / CLIPS)[0].keys:
        return moments
    frames = np.load(folder / FRAMES, mmap_mode="r", allow_pickle=False)
    # Some megabytes at a time: the sums are in float64.
    step = max(1, 2**20 // int(np.prod(frames.shape[1:])))
    for at in range(0, len(frames), step):
        moments.add(to_float(np.asarray(frames[at : at + step]), dtype))
    return moments


class _Filling:
    """Encode the clips of a split that are not there yet."""

    def __init__(
        self, space: LatentSpace, footage: Footage, split: str, writer: FrameWriter, meter: _Meter, problems: Problems
    ) -> None:
        self.space, self.footage, self.split = space, footage, split
        self.writer, self.meter, self.problems = writer, meter, problems
        self.skip: set[int] = set()
        self._note()

    def fill(self, watch: Watch) -> None:
        """Encode everything, leaving out files that fail."""
        self.meter.skipped(sum(self.footage.length(self.split, item) for item in self.skip))
        total = self.footage.count(self.split) - len(self.skip)
        for _ in watch(self._all(), total, f"clips of {self.split}"):
            pass

    def _all(self) -> Iterator[int]:
        while True:
            try:
                for item in self._run():
                    self.skip.add(item)
                    yield item
                return
            except InputError as error:
                # What was written beside the failure counts; what was half written does not.
                self.writer.drop()
                self._note()
                bad = self.footage.blamed(self.split, str(error), self.skip)
                if bad is None:
                    raise
                path = self.footage.key(self.split, bad)
                self.problems.add(path, f"{error}; the clip is left out")
                self.skip.add(bad)
                yield bad

    def _note(self) -> None:
        """Skip what is there."""
        held = range(self.footage.count(self.split))
        self.skip |= {item for item in held if self.footage.key(self.split, item) in self.writer}

    def _run(self) -> Iterator[int]:
        """Yield items as they are written: one thread decodes ahead, this one encodes, another one writes."""
        pending: deque[Future[int | None]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="latents") as pool:
            for chunk in self.footage.chunks(self.split, self.skip):
                latents = self._encode(chunk)
                pending.append(pool.submit(self._write, chunk, latents))
                while len(pending) > PENDING:
                    yield from _there(pending.popleft().result())
            while pending:
                yield from _there(pending.popleft().result())

    def _encode(self, chunk: Chunk) -> Tensor:
        frames = torch.as_tensor(chunk.frames).to(self.space.first_stage.device, non_blocking=True)
        latents = self.space.encode(frames[None])[0]
        # Rounded where they are made: half as many bytes to move.
        return latents.to(torch.bfloat16).view(torch.int16) if self.writer.dtype == "bf16" else latents

    def _write(self, chunk: Chunk, latents: Tensor) -> int | None:
        array = latents.cpu().numpy()
        try:
            self.writer.add(array.view(np.uint16) if self.writer.dtype == "bf16" else array)
        except InputError as error:
            key = self.footage.key(self.split, chunk.item)
            raise InputError(f"latents of {key}: {error}; use another --dtype, or look at the first stage") from None
        self.meter.add(len(array))
        if not chunk.last:
            return None
        self.writer.end(self.footage.key(self.split, chunk.item), self.footage.labels(self.split, chunk.item))
        return chunk.item


def _there(item: int | None) -> Sequence[int]:
    return () if item is None else (item,)


class _Meter:
    """Frames a second: told once it is known, and at the end."""

    AFTER = 10.0
    """Seconds after which a forecast is told."""

    def __init__(self, total: int, tell: Tell) -> None:
        self.left, self.done, self.tell = total, 0, tell
        self.began = time.monotonic()
        self.told = False

    def skipped(self, frames: int) -> None:
        """Leave frames out that are there already."""
        self.left -= frames

    def add(self, frames: int) -> None:
        """Count frames."""
        self.done += frames
        seconds = time.monotonic() - self.began
        if not self.told and seconds > self.AFTER:
            self.told = True
            rate = self.done / seconds
            self.tell(f"{rate:.1f} frames/s: about {(self.left - self.done) / rate / 60:.0f} minutes more")

    def end(self) -> None:
        """Tell how fast it was."""
        seconds = time.monotonic() - self.began
        self.tell(f"{self.done} frames in {seconds:.1f} s, {self.done / max(seconds, 1e-9):.1f} frames/s")


def _tell_plan(footage: Footage, shape: tuple[int, ...], dtype: str, out: Path, tell: Tell) -> None:
    """Say how large the cache gets.

    Raises: InputError if there is no room for it.
    """
    size = bytes_of(footage.frames, shape, dtype)
    tell(footage.describe())
    clips = sum(footage.count(split) for split in footage.splits)
    tell(f"{clips} clips with {footage.frames} frames: latents {shape} of {dtype}, {_bytes(size)} on disk")
    there = next(place for place in (out, *out.resolve().parents) if place.exists())
    begun = sum(path.stat().st_size for path in out.glob(f"*/{FRAMES}"))
    free = shutil.disk_usage(there).free
    if size - begun > free:
        raise InputError(
            f"--out: {out} has room for {_bytes(free)}, expected {_bytes(size - begun)} more; take another"
        )


def _bytes(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _tell_degenerate(moments: Moments, dtype: str, tell: Tell) -> None:
    flat = np.flatnonzero(moments.degenerate())
    if flat.size:
        tell(
            f"warning: channels {', '.join(map(str, flat))} of the latents do not vary: the first stage does not use "
            "them, and neither will a model"
        )
    coarse = {"bf16": 2**-9, "float16": 2**-12}.get(dtype, 0.0)
    lost = np.flatnonzero(~moments.degenerate() & (np.abs(moments.mean) * coarse > 0.05 * moments.std))
    if lost.size:
        tell(
            f"warning: channels {', '.join(map(str, lost))} vary little around a large mean, which {dtype} rounds "
            "away; use --dtype float32"
        )


def summary(held: Dataset, out: Path, problems: Problems) -> dict[str, Any]:
    """Return what is worth knowing of a cache, fit for JSON."""
    size = sum((out / split / FRAMES).stat().st_size for split in held.splits)
    shape = {"channels": held.channels, "size": held.size, "dtype": held.dtype, "bytes": size}
    return {"folder": str(out), "splits": held.splits, **shape, **held.options, "problems": len(problems)}
