"""What a video file really holds, found by decoding all of it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffsda.data.video.libav import opened
from diffsda.errors import InputError

SUFFIXES = frozenset(
    ".3gp .asf .avi .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()  # noqa: SIM905
)
"""Names of files that are taken for videos."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A video, decoded once from end to end."""

    frames: int
    fps: float
    """Frames a second on average; 0 where the file has no times."""
    width: int
    height: int
    codec: str
    sha256: str
    uneven: bool
    """Frames are shown for unequal times."""
    bt601: bool
    """The colours are those that every loader takes them for."""
    turned: int
    """Degrees, anticlockwise, by which a player turns the frames; loaders do not."""


def probe(path: str | os.PathLike[str]) -> Probe:
    """Decode a whole file.

    Raises: InputError, by its name, if any part of it is damaged or missing, it holds no frame, or its frames are of
    several sizes; MissingPackage without PyAV.
    """
    path = Path(path)
    sizes: dict[tuple[int, int], None] = {}
    times: list[int | None] = []
    first: Any = None
    with opened(path, err_detect="explode") as (container, stream):
        for frame in sound_frames(path, container, stream):
            sizes[frame.width, frame.height] = None
            times.append(frame.pts)
            first = first or frame
        if first is None:
            raise InputError(f"{path}: holds no frame that can be decoded")
        if len(sizes) > 1:
            held = ", ".join(f"{w}x{h}" for w, h in sizes)
            raise InputError(f"{path}: has frames of several sizes ({held}), expected one")
        average = stream.average_rate or stream.guessed_rate or 0
        fps, uneven = _rhythm(times, float(stream.time_base or 0))
        return Probe(
            frames=len(times),
            fps=fps or float(average),
            width=first.width,
            height=first.height,
            codec=_family(stream.codec_context.codec.canonical_name),
            sha256=digest(path),
            uneven=uneven,
            bt601=_is_bt601(first),
            turned=int(first.rotation) % 360,
        )


def sound_frames(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    """Yield all frames of an opened file.

    Raises: InputError if one is damaged, or the file declares more than it holds. Damage that a codec decodes without
    a complaint (VP9 and VP8 have no checks) is not found.
    """
    packets = frames = 0
    end = step = 0.0
    for packet in container.demux(stream):
        if packet.size:
            packets += 1
            step = float((packet.duration or 0) * packet.time_base)
            end = max(end, float((packet.pts or 0) * packet.time_base) + step)
        if packet.is_corrupt:
            raise InputError(f"{path}: is cut off or damaged after {frames} frames")
        for frame in packet.decode():
            if frame.is_corrupt:
                raise InputError(f"{path}: frame {frames} is damaged")
            frames += 1
            yield frame
    # Only some containers declare a number (0: unknown); AVI's may count frames that were dropped when it was made.
    if stream.frames > packets and container.format.name != "avi":
        raise InputError(f"{path}: is cut off: it declares {stream.frames} frames and holds {packets}")
    declared = _declared_seconds(stream)
    if declared - end > 1.5 * max(step, 0.01):
        raise InputError(f"{path}: is cut off: it declares {declared:.2f} s and holds {end:.2f} s")


def _declared_seconds(stream: Any) -> float:
    """Return how long Matroska's tag says the stream is; 0 without one."""
    found = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3]) if found else 0.0


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rhythm(times: list[int | None], unit: float) -> tuple[float, bool]:
    """Return frames a second and whether they are uneven, from times in units of so many seconds."""
    if len(times) < 2 or not unit or any(time is None for time in times):
        return 0.0, False
    steps = np.diff(np.array(times, np.float64))
    mean = steps.mean()
    if mean <= 0:
        return 0.0, False
    # Times are whole units: a rate that no unit fits wavers by one.
    return float(1 / (mean * unit)), bool(np.ptp(steps) > max(1.0, 0.1 * mean))


def _is_bt601(frame: Any) -> bool:
    """Tell whether colours are BT.601's: said so (5, 6), not said at all (0, 2; players differ), or not YUV."""
    return int(frame.colorspace) in (0, 2, 5, 6) or "yuv" not in frame.format.name


def _family(codec: str) -> str:
    return {"vp08": "vp8", "vp09": "vp9", "avc1": "h264"}.get(codec, codec)
