"""The loader on NVIDIA DALI: one graph from the bytes of files to pixels, on the CPU or on a GPU's video decoders."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from diffsda.data.check import Array
from diffsda.data.video.choice import DALI_PIP
from diffsda.data.video.entry import Entry
from diffsda.data.video.excerpt import excerpt
from diffsda.data.video.pyav import cores
from diffsda.data.video.view import Plan, View
from diffsda.errors import DiffSDAError, InputError, MissingPackage

MOST = 16
"""Clips decoded at a time: more than an H200 has video decoders (7), as one clip keeps one of them busy."""
DEPTH = 2
"""Such groups in flight beyond the one that is waited for."""
HALF = 127.5
Job = tuple[Entry, Plan]
Excerpt = tuple[Array, list[int]]
_log = logging.getLogger("diffsda.data.video")


class DaliLoader:
    """Decode clips with DALI's ``decoders.video``; batches are numpy arrays, or torch tensors on a CUDA device.

    A graph is built once and used again; two iterations at the same time have one each. DALI is handed excerpts of the
    files, which PyAV cuts out.
    Raises: MissingPackage if DALI is not installed.
    """

    def __init__(self, view: View, device: str = "cpu", threads: int | None = None) -> None:
        try:
            import nvidia.dali  # noqa: F401
        except ImportError as error:
            raise MissingPackage(f"loader dali needs NVIDIA DALI ({error}): {DALI_PIP}, or use pyav") from None
        self.view, self.device = view, device
        self.threads = threads or min(cores(), MOST)
        self._idle: list[_Graph] = []

    def batches(self, jobs: Iterable[Sequence[Job]]) -> Iterator[Any]:
        """Yield (B, V, 3, size, size) float32 in [-1, 1] for each sequence of B jobs.

        Raises: InputError, by name, for a file that cannot be decoded.
        """
        graph = self._idle.pop() if self._idle else _Graph(self.view, self.device, self.threads)
        sizes: deque[int] = deque()
        try:
            with ThreadPoolExecutor(min(4, self.threads), thread_name_prefix="reading") as pool:
                groups = graph.run(_Feed(pool, _grouped(jobs, sizes)))
                try:
                    yield from self._whole(groups, sizes)
                finally:
                    groups.close()
        finally:
            if graph.sound:
                self._idle.append(graph)

    def _whole(self, groups: Iterator[Any], sizes: deque[int]) -> Iterator[Any]:
        """Put groups together again into the batches asked for."""
        parts: list[Any] = []
        for part in groups:
            parts.append(part)
            if sum(map(len, parts)) == sizes[0]:
                sizes.popleft()
                yield self._joined(parts)
                parts = []

    def _joined(self, parts: list[Any]) -> Any:
        if len(parts) == 1:
            return parts[0]
        if self.device == "cpu":
            return np.concatenate(parts)
        import torch

        return torch.cat(parts)


def _grouped(jobs: Iterable[Sequence[Job]], sizes: deque[int]) -> Iterator[Sequence[Job]]:
    for batch in jobs:
        if not batch:
            raise InputError("takes: got an empty batch, expected at least one take in each")
        sizes.append(len(batch))
        yield from (batch[at : at + MOST] for at in range(0, len(batch), MOST))


class _Feed:
    """Groups of jobs with the bytes of their files, read ahead on threads."""

    def __init__(self, pool: ThreadPoolExecutor, groups: Iterator[Sequence[Job]]) -> None:
        self._pool, self._groups = pool, groups
        self._waiting: deque[tuple[Sequence[Job], list[Future[Excerpt]]]] = deque()
        self.given: deque[Sequence[Job]] = deque()
        """Groups that the graph has and that have not come out of it."""
        self.error: Exception | None = None

    def stop(self) -> None:
        """Give nothing more."""
        self._groups = iter(())
        for _, files in self._waiting:
            for file in files:
                file.cancel()
        self._waiting.clear()

    def __call__(self) -> tuple[Sequence[Job], list[Excerpt]]:
        """Return the next group and what of its files is to be decoded.

        Raises: StopIteration at the end, which an error is too: what was given before it comes out first.
        """
        self._read_ahead()
        if not self._waiting:
            raise StopIteration
        group, reading = self._waiting.popleft()
        try:
            files = [file.result() for file in reading]
        except DiffSDAError as error:
            self.error = error
            self.stop()
            raise StopIteration from None
        self.given.append(group)
        return group, files

    def _read_ahead(self) -> None:
        try:
            while len(self._waiting) <= DEPTH and (group := next(self._groups, None)) is not None:
                self._waiting.append((group, [self._pool.submit(_excerpt, *job) for job in group]))
        except Exception as error:
            self.error = error
            self._groups = iter(())


class _Graph:
    """A DALI pipeline with a place to put what feeds it."""

    def __init__(self, view: View, device: str, threads: int, most: int = MOST) -> None:
        self.view, self.device = view, device
        self.sound = True
        self._feed: _Feed | None = None
        self.inputs = _used(view)
        self._pipe = _pipeline(self, view, device, threads, most)

    def take(self) -> tuple[list[Array], ...]:
        """Return the next group of inputs; what DALI calls."""
        assert self._feed is not None
        group, files = self._feed()
        made = _inputs([plan for _, plan in group], files)
        return tuple(made[name] for name in self.inputs)

    def run(self, feed: _Feed) -> Generator[Any, None, None]:
        """Yield a group of clips for each that is fed; closed early, what is in flight is thrown away."""
        self._feed, self.sound = feed, False
        try:
            while (clips := self._next(feed)) is not None:
                yield clips
        except GeneratorExit:
            feed.stop()
            # What is thrown away may be broken: nobody asked for it.
            with contextlib.suppress(InputError):
                while self._next(feed) is not None:
                    pass
            raise
        if feed.error is not None:
            raise feed.error

    def _next(self, feed: _Feed) -> Any:
        """Return the next group, or None at the end, after which the pipeline can be used again."""
        try:
            (made,) = self._pipe.run()
        except StopIteration:
            self._pipe.reset()
            self.sound = True
            return None
        except Exception as error:
            raise _blame(self, feed, error) from error
        feed.given.popleft()
        if self.device == "cpu":
            return np.array(made.as_array())
        return _copy(made.as_tensor())


def _copy(made: Any) -> Any:
    """Copy what came out of a pipeline into memory of torch.

    DALI decodes the next groups into the same memory once its output is released, and does not know of the stream
    that torch reads on: the copy must have happened, not only be queued, before that.
    """
    import torch
    from torch.utils.dlpack import from_dlpack

    clips = from_dlpack(made).clone()
    torch.cuda.current_stream(clips.device).synchronize()
    return clips


def _pipeline(graph: _Graph, view: View, device: str, threads: int, most: int) -> Any:
    """Build the graph: decode the frames asked for, fit, recolour, cut out, mirror, scale."""
    # By name: what types its stubs have depends on whether it is installed.
    dali, fn, types = (importlib.import_module(f"nvidia.dali.{part}") for part in ("pipeline", "fn", "types"))
    cuda = device.startswith("cuda")
    kinds = {"encoded": types.UINT8, **dict.fromkeys(("frames", "order", "mirror"), types.INT32)}

    pipe = dali.Pipeline(
        batch_size=most,
        num_threads=threads,
        device_id=int(device.partition(":")[2] or 0) if cuda else None,
        prefetch_queue_depth=DEPTH,
    )
    # Several training processes on a host must not all pin their threads to the same cores.
    place = {"device": "mixed", "affine": False} if cuda else {"device": "cpu"}
    side = [view.size, view.size]
    with pipe:
        fed = fn.external_source(
            source=graph.take,
            num_outputs=len(graph.inputs),
            dtype=[kinds.get(name, types.FLOAT) for name in graph.inputs],
            ndim=[int(name in ("encoded", "frames", "order")) for name in graph.inputs],
        )
        given = dict(zip(graph.inputs, fed, strict=True))
        video = fn.decoders.video(given["encoded"], frames=given["frames"], pad_mode="none", **place)
        if view.reverse:
            video = fn.sequence_rearrange(video, new_order=given["order"])
        video = fn.resize(
            video, size=side, mode="not_smaller", interp_type=types.INTERP_LINEAR, antialias=True, subpixel_scale=False
        )
        if view.jitter:
            video = fn.color_twist(video, **{name: given[name] for name in _COLOUR})
        scaled = fn.crop_mirror_normalize(
            video,
            crop=side,
            mirror=given.get("mirror", 0),
            mean=[HALF] * 3,
            std=[HALF] * 3,
            dtype=types.FLOAT,
            output_layout="FCHW",
        )
        pipe.set_outputs(scaled)
    pipe.build()
    return pipe


_COLOUR = ("brightness", "contrast", "saturation", "hue")


def _used(view: View) -> tuple[str, ...]:
    """Return the names of what the graph is fed."""
    extra = (("order",) if view.reverse else ()) + (("mirror",) if view.flip else ()) + (_COLOUR if view.jitter else ())
    return ("encoded", "frames", *extra)


def _inputs(plans: Sequence[Plan], files: Sequence[Excerpt]) -> dict[str, list[Array]]:
    return {
        "encoded": [encoded for encoded, _ in files],
        # Frames are decoded in rising order, whichever they are played in: a decoder can only go back to a key frame.
        "frames": [np.array(frames, np.int32) for _, frames in files],
        "order": [np.arange(len(p.indices), dtype=np.int32)[:: -1 if p.backwards else 1].copy() for p in plans],
        "mirror": [np.array(plan.mirror, np.int32) for plan in plans],
        **{name: [np.array(getattr(plan, name), np.float32) for plan in plans] for name in _COLOUR},
    }


def _excerpt(entry: Entry, plan: Plan) -> Excerpt:
    return excerpt(entry.path, sorted(plan.indices), entry.frames)


def _blame(graph: _Graph, feed: _Feed, error: Exception) -> InputError:
    """Find the file that broke a pipeline: DALI does not name it, so every one in flight is decoded alone."""
    _log.debug("DALI stopped", exc_info=error)
    waiting = [job for group in feed.given for job in group]
    for job in waiting:
        alone = _Graph(graph.view, graph.device, 1, most=1)
        with ThreadPoolExecutor(1) as pool:
            alone._feed = _Feed(pool, iter([[job]]))
            try:
                alone._pipe.run()
            except Exception as cause:
                return InputError(f"{job[0].path}: DALI cannot decode it on {graph.device} ({_words(cause)})")
    names = ", ".join(sorted({entry.path.name for entry, _ in waiting})[:4])
    return InputError(f"DALI stopped ({_words(error)}) while decoding {names or 'nothing'}, all good one by one")


def _words(error: Exception) -> str:
    """Return the one line of DALI's message that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    start = lines.index("encountered:") + 1 if "encountered:" in lines else 0
    return " ".join(lines[start : start + 1])[:200] or type(error).__name__
