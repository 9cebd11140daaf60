"""The part of a video file that some of its frames need, as a small file of its own, copied packet by packet.

DALI 2.4 takes whole files in memory and, on the CPU, decodes from the first frame on, key frames or not. Given an
excerpt it reads, moves and decodes only the groups of pictures that are asked for, each up to the last frame wanted.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffsda.data.check import Array
from diffsda.data.video.libav import libav, opened, reason
from diffsda.data.video.seek import NEAR, Index, index_of
from diffsda.errors import InputError

SMALL = 1 << 20
"""Bytes up to which a file is taken whole for frames near its start."""


def excerpt(path: Path, wanted: Sequence[int], total: int | None = None) -> tuple[Array, list[int]]:
    """Return the bytes of a video that has these frames, and their numbers in it.

    wanted: rising, distinct numbers in the file. total: frames the file is known to have.
    Nothing is decoded. A file whose packets do not say without doubt which frame is which is taken whole.
    Raises: InputError, by the file's name, if it cannot be read or is empty.
    """
    if wanted[-1] >= NEAR or (path.is_file() and path.stat().st_size > SMALL):
        index = index_of(path, wanted, total)
        if index is not None:
            kept = _kept(index, wanted)
            copied = None if kept is None else _copied(path, index, kept)
            if kept is not None and copied is not None:
                shown = np.flatnonzero(kept[index.places])
                return copied, np.searchsorted(shown, wanted).tolist()
    return _whole(path), list(wanted)


def _whole(path: Path) -> Array:
    try:
        held = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path}: {reason(error)}") from error
    if not held.size:
        raise InputError(f"{path}: is empty, expected a video")
    return held


def _kept(index: Index, wanted: Sequence[int]) -> Array | None:
    """Return which packets are needed, (frames,) bool in the order of the file; None without a key frame before."""
    times = index.in_file_order()
    kept = np.zeros(len(times), bool)
    for number in wanted:
        key = index.key_before(int(index.times[number]))
        if key is None:
            return None
        first, last = index.place_of(key), int(index.places[number])
        if first is None or first > last:
            return None
        group = slice(first, last + 1)
        # What is shown before the key frame and lies behind it in the file leans on the group before.
        kept[group] |= times[group] >= key
    return kept


def _copied(path: Path, index: Index, kept: Array) -> Array | None:
    """Copy packets into a file in memory; None where the file does not keep to its index."""
    av = libav()
    times = index.in_file_order()
    missing = np.flatnonzero(kept).tolist()[::-1]
    file = io.BytesIO()
    with opened(path) as (source, stream):
        codec = stream.codec_context.codec.canonical_name
        # With a B-frame behind a gap, MPEG-4's decoder takes the times in the stream for out of order and skips it.
        if codec == "mpeg4" and (np.diff(index.places) < 0).any():
            return None
        kind = "matroska" if codec == "vp8" else "mp4"
        with av.open(file, "w", format=kind) as target:
            copy = target.add_stream_from_template(stream)
            at = sought = -NEAR - 1
            packet: Any
            packets: Iterator[Any] = iter(())
            while missing:
                if missing[-1] > max(at, sought) + NEAR:
                    sought = missing[-1]
                    source.seek(int(times[sought]), stream=stream)
                    packets = source.demux(stream)
                packet = next(packets, None)
                place = None if packet is None or not packet.size else index.place_of(packet.pts)
                if place is None:
                    return None
                at = place
                if at == missing[-1]:
                    missing.pop()
                    packet.stream = copy
                    if not _muxed(target, packet):
                        return None
                elif at > missing[-1]:
                    return None
    return np.frombuffer(file.getbuffer(), np.uint8)


def _muxed(target: Any, packet: Any) -> bool:
    """Add a packet; tell whether its times were taken: after a seek libav guesses some that Matroska does not hold."""
    try:
        target.mux(packet)
    except libav().error.FFmpegError:
        return False
    return True
