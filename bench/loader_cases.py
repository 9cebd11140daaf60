"""What the loader rows time: taking clips of 10 frames out of video files, by ours and by others, on the same clips.

Every frame carries its number, black and white along its upper edge, so that who gives other frames than those asked
for gets no time.
"""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from diffsda.data.check import Array
from diffsda.data.stream import Take
from diffsda.data.video import choice
from diffsda.data.video.encode import Encoding, write_video
from diffsda.data.video.entry import Entry
from diffsda.data.video.libav import libav, opened
from diffsda.data.video.pixels import clip_of
from diffsda.data.video.pyav import PyAVLoader
from diffsda.data.video.view import Plan, View
from diffsda.errors import MissingPackage

PUBLISHED, OURS, PYAV, TORCHCODEC, DECORD = "published", "ours", "pyav", "torchcodec", "decord"
OTHERS = (PYAV, TORCHCODEC, DECORD)
SIDE, FILES, LENGTH = 96, 16, 200
"""Pixels, files and frames of a file: small frames, so that 16 files are made in seconds."""
VIEW = View(frames=10, size=SIDE, stride=2)
SETTINGS = {
    "vp9": Encoding(codec="vp9", gop=8),
    "vp9_gop_200": Encoding(codec="vp9", gop=LENGTH),
    "mjpeg": Encoding(codec="mjpeg"),
}
"""As ``diffsda prepare video --recode`` writes them, and VP9 as one finds it: with one key frame."""
ALIKE = 0.02
"""Mean difference from the published pixels that is allowed, by their range: decoders round chroma differently."""
BITS = 8
Job = tuple[Entry, Plan]


@dataclass(frozen=True)
class Films:
    """Files of one encoding, and the clips that are taken of them: the same in every run."""

    name: str
    side: int = SIDE
    files: int = FILES
    length: int = LENGTH

    @cached_property
    def _folder(self) -> TemporaryDirectory[str]:
        return TemporaryDirectory(prefix="diffsda-films-")

    @cached_property
    def entries(self) -> list[Entry]:
        """The files, written when they are first asked for; they go when the process does."""
        encoding = SETTINGS[self.name]
        made = []
        for number in range(self.files):
            path = Path(self._folder.name) / f"{number}.mp4"
            write_film(path, encoding, self.side, self.length, seed=number)
            about: dict[str, Any] = {
                "fps": 25.0,
                "width": self.side,
                "height": self.side,
                "sha256": "",
                "codec": encoding.codec,
            }
            made.append(Entry(path=path, frames=self.length, **about))
        return made

    def jobs(self, step: int, view: View = VIEW) -> list[Job]:
        """Return the clips of a batch: one of every file, from anywhere in it."""
        takes = [Take(item, 1000 * step + item) for item in range(self.files)]
        return [(self.entries[t.item], view.plan(t, self.length)) for t in takes]


@lru_cache
def films(name: str) -> Films:
    """Return the files of an encoding, made once."""
    return Films(name)


def write_film(path: Path, encoding: Encoding, side: int, length: int, seed: int) -> None:
    """Write a video of things that move smoothly, with every frame's number in it."""
    av = libav()
    pictures = (av.VideoFrame.from_ndarray(p, format="rgb24") for p in _pictures(side, length, seed))
    write_video(pictures, path, encoding, 25)


def _pictures(side: int, length: int, seed: int) -> Iterator[Array]:
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, 3)
    y, x = np.mgrid[0:side, 0:side] / side
    for number in range(length):
        waves = [np.sin(2 * np.pi * (a * x + b * y + number / 40) + p) for a, b, p in zip((1, 0, 1), (0, 1, 1), phase)]
        picture = (127.5 + 90 * np.stack(waves, -1)).round().astype(np.uint8)
        for bit in range(BITS):
            place = slice(bit * side // BITS, (bit + 1) * side // BITS)
            picture[: side // 6, place] = 255 * (number >> bit & 1)
        yield picture


def numbers(clips: Array) -> Array:
    """Return the frame numbers (B, V) that clips (B, V, 3, H, W) show."""
    side = clips.shape[-1]
    blocks = clips[..., 2 : side // 6 - 2, :].mean((-3, -2)).reshape(*clips.shape[:2], BITS, side // BITS)
    return (blocks[..., 2:-2].mean(-1) > 0) @ (1 << np.arange(BITS))


def ours_is() -> str:
    """Return the loader that ``auto`` takes for these files here."""
    return choice.choose("auto", "cpu", {"vp9": SIDE, "mjpeg": SIDE})[0]


def absent(who: str) -> str | None:
    """Return why somebody cannot take part here; None if they can."""
    try:
        if who == TORCHCODEC:
            importlib.import_module("torchcodec.decoders")
        if who == DECORD:
            importlib.import_module("decord")
        libav()
    except (ImportError, OSError, RuntimeError, MissingPackage) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return None


class Pooled:
    """A loader made of a function that decodes one clip: on threads, a batch at a time."""

    def __init__(self, decode: Callable[[Entry, Plan], Array], threads: int) -> None:
        self.decode, self.pool = decode, ThreadPoolExecutor(threads)

    def batches(self, jobs: Iterable[Sequence[Job]]) -> Iterator[Array]:
        """Yield (B, V, 3, H, W) float32 in [-1, 1] for each batch."""
        for batch in jobs:
            yield np.stack(list(self.pool.map(self._clip, batch)))

    def _clip(self, job: Job) -> Array:
        return clip_of(self.decode(*job), job[1], VIEW.size)


def loader(who: str, threads: int) -> Any:
    """Return somebody's loader, which has ``batches``."""
    if who == OURS and ours_is() == "dali":
        from diffsda.data.video.dali import DaliLoader

        return DaliLoader(VIEW, threads=threads)
    if who in (OURS, PYAV):
        return PyAVLoader(VIEW, threads)
    return Pooled({PUBLISHED: _whole, TORCHCODEC: _torchcodec, DECORD: _decord}[who], threads)


def epoch(who: str, threads: int, batches: Sequence[Sequence[Job]]) -> Callable[[], Array]:
    """Return what reads all batches and gives the last."""
    reads = loader(who, threads)

    def call() -> Array:
        return deque(reads.batches(batches), maxlen=1)[0]

    return call


def floor(threads: int, batches: Sequence[Sequence[Job]]) -> Callable[[], None]:
    """Return what decodes the frames that nobody can do without, and makes nothing of them."""
    pool = ThreadPoolExecutor(threads)

    def call() -> None:
        for batch in batches:
            list(pool.map(lambda job: _decoded(*job), batch))

    return call


def _whole(entry: Entry, plan: Plan) -> Array:
    """Decode and convert every frame and keep those wanted: the published way with a video file."""
    with opened(entry.path) as (container, stream):
        frames = [f.reformat(format="rgb24", threads=1).to_ndarray() for f in container.decode(stream)]
    return np.stack([frames[i] for i in plan.indices])


def _torchcodec(entry: Entry, plan: Plan) -> Array:
    decoders: Any = importlib.import_module("torchcodec.decoders")
    decoder = decoders.VideoDecoder(str(entry.path), dimension_order="NHWC", num_ffmpeg_threads=1)
    return decoder.get_frames_at(list(plan.indices)).data.numpy()


def _decord(entry: Entry, plan: Plan) -> Array:
    import decord

    return decord.VideoReader(str(entry.path), num_threads=1).get_batch(list(plan.indices)).asnumpy()


def _decoded(entry: Entry, plan: Plan) -> None:
    """Decode from the key frame before a clip to its last frame."""
    with opened(entry.path) as (container, stream):
        first, last = (round(i / 25 / stream.time_base) for i in (plan.indices[0], plan.indices[-1]))
        container.seek(first, stream=stream)
        for frame in container.decode(stream):
            if frame.pts >= last:
                return
