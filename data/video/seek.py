"""Single frames out of a video file by their number, exactly, decoding no more than needed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from diffsda.data.check import Array
from diffsda.data.video.libav import libav, opened
from diffsda.errors import InputError

NEAR = 16
"""Up to this frame number counting from the start costs less than looking for a key frame."""

TIMELESS = frozenset({"avi"})
"""Containers, by libav's name, that do not say when frames are shown: times are made up in the order of the file."""


@dataclass(frozen=True, slots=True)
class _Starts:
    """Where decoding can begin in a codec of NAL units: at a picture that nothing after it reaches back over."""

    shift: int
    mask: int
    """The kind of a unit, in its first byte."""
    kinds: frozenset[int]
    width_at: int
    """The byte of avcC or hvcC with the width of lengths."""

    def kind(self, first: int) -> int:
        """Return the kind of a unit by its first byte."""
        return first >> self.shift & self.mask


STARTS = {
    "h264": _Starts(0, 31, frozenset({5}), 4),  # IDR; not a recovery point, as of open groups and intra refresh
    "hevc": _Starts(1, 63, frozenset(range(16, 21)), 21),  # BLA and IDR; not CRA, as of open groups
}


@dataclass(frozen=True, slots=True)
class Index:
    """When the frames of a file are shown, in its own unit of time."""

    times: Array
    """(frames,) int64, rising."""
    keys: Array
    """(key frames,) int64, rising: where decoding can begin."""
    places: Array
    """(frames,) int64: where each of them lies in the file, among the others."""

    def place_of(self, time: int | None) -> int | None:
        """Return where the frame of a time lies in the file; None if there is none."""
        if time is None:
            return None
        at = int(np.searchsorted(self.times, time))
        return int(self.places[at]) if at < len(self.times) and self.times[at] == time else None

    def in_file_order(self) -> Array:
        """Return the frames' times, (frames,), as they lie in the file."""
        times = np.empty_like(self.times)
        times[self.places] = self.times
        return times

    def key_before(self, time: int) -> int | None:
        """Return the time of the last key frame up to a time; None if there is none."""
        at = int(np.searchsorted(self.keys, time, side="right")) - 1
        return None if at < 0 else int(self.keys[at])


def read_frames(path: str | os.PathLike[str], wanted: Sequence[int], total: int | None = None) -> Array:
    """Decode the frames of the given numbers, counted from 0 in the order they are shown.

    wanted: rising, distinct. total: frames the file is known to have; an index that says otherwise is not used.
    Returns: (len(wanted), H, W, 3) uint8, RGB. Colours are read as BT.601, whatever the file says, as DALI and OpenCV
    do; the range (limited or full) is the file's.
    Raises: InputError, by the file's name, if it cannot be decoded or has fewer frames.
    """
    path = Path(path)
    index = index_of(path, wanted, total) if wanted[-1] >= NEAR else None
    found = None if index is None else _by_time(path, index, wanted)
    return _by_count(path, wanted) if found is None else found


def index_of(path: Path, wanted: Sequence[int], total: int | None) -> Index | None:
    """Return the index of a file; None if it has none, or one that does not fit what is wanted of it."""
    index = _index(path, path.stat().st_mtime_ns) if path.is_file() else None
    if index is None or len(index.times) <= wanted[-1] or total not in (None, len(index.times)):
        return None
    return index


@lru_cache(maxsize=4096)
def _index(path: Path, changed: int) -> Index | None:
    """Read when frames are shown, from the packets alone; None where these do not say it without doubt."""
    with opened(path) as (container, stream):
        packets = [(p.pts, _is_start(stream, p)) for p in container.demux(stream) if p.size and not p.is_discard]
        keeps_times = container.format.name not in TIMELESS
        reorders = bool(stream.codec_context.has_b_frames)
    if not packets or any(time is None for time, _ in packets):
        return None
    times = np.array([time for time, _ in packets], np.int64)
    keys = np.array([key for _, key in packets], bool)
    order = np.argsort(times, kind="stable")
    rising = bool((np.diff(times) > 0).all())
    # Times made up in the order of the file look whole, and are wrong if the codec shows frames in another order.
    if not keys.all() and (not keeps_times or (reorders and rising)):
        return None
    # Frames shown before the first start may or may not be decoded: their numbers are in doubt.
    if (np.diff(times[order]) <= 0).any() or not keys[order[0]]:
        return None
    return Index(times[order], times[order][keys[order]], order)


def _is_start(stream: Any, packet: Any) -> bool:
    """Tell whether decoding can begin at a packet; libav's key packets may be places where a picture only recovers."""
    starts = STARTS.get(stream.codec_context.codec.canonical_name)
    if starts is None or not packet.is_keyframe:
        return bool(packet.is_keyframe)
    extra = bytes(stream.codec_context.extradata or b"")
    return any(starts.kind(unit) in starts.kinds for unit in _first_bytes(bytes(packet), extra, starts.width_at))


def _first_bytes(data: bytes, extra: bytes, width_at: int) -> Iterator[int]:
    """Yield the first byte of each NAL unit of a packet of H.264 or HEVC.

    extra: the stream's parameter sets. In MP4's form (avcC, hvcC) they say, at ``width_at``, how wide the lengths
    before units are; in the other form (Annex B) a start code lies before each.
    """
    if len(extra) <= width_at or extra.startswith((b"\0\0\1", b"\0\0\0\1")):
        yield from (unit[0] for unit in data.split(b"\0\0\1")[1:] if unit)
        return
    at, width = 0, (extra[width_at] & 3) + 1
    while at + width < len(data):
        yield data[at + width]
        at += width + int.from_bytes(data[at : at + width], "big")


def _by_time(path: Path, index: Index, wanted: Sequence[int]) -> Array | None:
    """Decode from the key frame before each wanted frame; None where the file does not keep to its index."""
    found: list[Array] = []
    with opened(path) as (container, stream):
        frames: Iterator[Any] = iter(())
        last: int | None = None
        for time in index.times[list(wanted)].tolist():
            key = index.key_before(time)
            if key is None:
                return None
            if last is None or key > last:
                frames = _frames_from(container, stream, index, key)
            frame = next((f for f in frames if f.pts is None or f.pts >= time), None)
            if frame is None or frame.pts != time:
                return None
            last = time
            found.append(_rgb(frame, found))
    return np.stack(found)


def _frames_from(container: Any, stream: Any, index: Index, key: int) -> Iterator[Any]:
    """Decode from a key frame on; none where the container takes us behind it, as transport streams do."""
    meant = index.place_of(key)
    container.seek(key, stream=stream)
    landed = False
    for packet in container.demux(stream):
        place = index.place_of(packet.pts)
        if not landed and place is not None:
            if meant is None or place > meant:
                return
            landed = True
        yield from packet.decode()


def _by_count(path: Path, wanted: Sequence[int]) -> Array:
    """Decode from the start and count."""
    found: list[Array] = []
    number = -1
    waiting = iter(wanted)
    following = next(waiting)
    with opened(path) as (container, stream):
        for number, frame in enumerate(container.decode(stream)):
            if number == following:
                found.append(_rgb(frame, found))
                following = next(waiting, -1)
                if following < 0:
                    return np.stack(found)
    raise InputError(
        f"{path}: got {number + 1} frames, expected frame {following}; the file has changed: prepare the set again"
    )


def _rgb(frame: Any, before: Sequence[Array]) -> Array:
    """Convert a frame; one of another size than those before it is scaled to theirs."""
    kinds = libav().video.reformatter
    way = kinds.Interpolation.BILINEAR | kinds.Interpolation.FULL_CHR_H_INT | kinds.Interpolation.ACCURATE_RND
    matrix = kinds.Colorspace.ITU601
    height, width = before[0].shape[:2] if before else (frame.height, frame.width)
    made = frame.reformat(
        width, height, "rgb24", src_colorspace=matrix, dst_colorspace=matrix, interpolation=way, threads=1
    )
    return made.to_ndarray()
