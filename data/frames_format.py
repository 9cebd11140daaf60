"""What a folder of frames holds: one array of all frames, and where in it each clip lies.

frames.npy     (total frames, *frame), plain numpy; bf16 is kept as its upper 16 bits in uint16
clips.jsonl    one JSON object a clip, in the order of the frames: key, start, frames, labels
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from diffsda.data.check import Array
from diffsda.errors import InputError

FRAMES = "frames.npy"
CLIPS = "clips.jsonl"
STORED: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2"), "bf16": np.dtype("<u2")}
"""For each type of frames what its numbers are stored as."""


def stored(dtype: str) -> np.dtype[Any]:
    """Return the numpy type that frames of a type are stored as.

    Raises: InputError for a type that is not kept.
    """
    if dtype not in STORED:
        raise InputError(f"dtype: got {dtype!r}, expected one of {', '.join(STORED)}")
    return STORED[dtype]


def to_stored(frames: Array, dtype: str) -> Array:
    """Round float frames to what is stored, to the nearest (ties to even); uint16 passes as bf16 that is coded already.

    Raises: InputError for values that are not finite, before rounding or after it.
    """
    kind = stored(dtype)
    if frames.dtype.kind != "f" and (dtype != "bf16" or frames.dtype != np.uint16):
        raise InputError(f"frames: got {frames.dtype} values, expected floats")
    if dtype == "bf16":
        coded = frames if frames.dtype == np.uint16 else _round_bf16(frames)
        bad = (coded & 0x7F80) == 0x7F80
    else:
        with np.errstate(over="ignore"):
            coded = frames.astype(kind)
        bad = ~np.isfinite(coded)
    if bad.any():
        where = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
        raise InputError(f"frame {where[0]}: holds a number that is not finite in {dtype}, expected finite numbers")
    return np.asarray(coded, kind, order="C")


def to_float(coded: Array, dtype: str) -> Array:
    """Return stored frames as float32 numbers, exactly."""
    if dtype != "bf16":
        return coded.astype(np.float32)
    return (coded.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _round_bf16(frames: Array) -> Array:
    bits = np.ascontiguousarray(frames, np.float32).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + (odd + np.uint32(0x7FFF))) >> np.uint32(16)).astype(np.uint16)


def header(frames: int, frame_shape: tuple[int, ...], dtype: str) -> bytes:
    """Return the head of frames.npy; its size does not depend on the number of frames."""
    file = io.BytesIO()
    plain = {"descr": stored(dtype).str, "fortran_order": False, "shape": (frames, *frame_shape)}
    np.lib.format.write_array_header_1_0(file, plain)
    return file.getvalue()


def read_header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Read the head of frames.npy; return shape, stored type and where the numbers begin.

    Raises: InputError if it is none.
    """
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"npy version {version}")
        shape, fortran, kind = np.lib.format.read_array_header_1_0(file)
        if fortran or kind.hasobject or len(shape) < 2 or any(n < 0 for n in shape):
            raise ValueError(f"shape {shape} of {kind}")
    except (ValueError, TypeError, EOFError, SyntaxError, RecursionError) as error:
        cause = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: got a damaged head ({cause}), expected frames as `diffsda prepare` stores") from None
    return shape, kind, file.tell()


@dataclass(slots=True)
class Index:
    """Where the clips lie: for each its key, its first frame and how many it has, and what is known of it."""

    keys: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    labels: list[dict[str, int]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Frames of all clips."""
        return self.starts[-1] + self.frames[-1] if self.starts else 0

    def add(self, key: str, frames: int, labels: dict[str, int]) -> str:
        """Note a clip that follows the others; return its line of clips.jsonl."""
        start = self.total
        self.keys.append(key)
        self.starts.append(start)
        self.frames.append(frames)
        self.labels.append(labels)
        return json.dumps({"key": key, "start": start, "frames": frames, "labels": labels}) + "\n"


def read_index(path: Path, *, torn: bool = False) -> tuple[Index, int]:
    """Read clips.jsonl; return the clips and the bytes their lines take.

    torn: leave out a last line that a kill or a power cut left half written.
    Raises: InputError naming the first line that will not do.
    """
    index, size = Index(), 0
    try:
        with path.open("rb") as file:
            lines = enumerate(file, 1)
            for number, line in lines:
                try:
                    _add_line(index, line)
                except (ValueError, TypeError, KeyError, RecursionError) as error:
                    if torn and next(lines, None) is None:
                        break
                    raise InputError(
                        f"{path}:{number}: got {_cause(error)}, expected a clip's key, start, frames and labels; "
                        "the file is damaged: prepare the set again into a new folder"
                    ) from None
                size += len(line)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected the clips of a prepared set") from None
    if len(set(index.keys)) != len(index.keys):
        twice = next(key for key in index.keys if index.keys.count(key) > 1)
        raise InputError(f"{path}: got the key {twice!r} twice, expected it once; prepare the set again")
    return index, size


def _add_line(index: Index, line: bytes) -> None:
    if not line.endswith(b"\n"):
        raise ValueError("half a line")
    plain = json.loads(line)
    key, start, frames, labels = plain["key"], plain["start"], plain["frames"], plain["labels"]
    if not isinstance(key, str) or type(start) is not int or type(frames) is not int or frames < 1:
        raise ValueError("values of another kind")
    if not all(type(value) is int for value in labels.values()):
        raise ValueError("labels that are no whole numbers")
    if start != index.total:
        raise ValueError(f"start {start} after {index.total} frames")
    index.add(key, frames, labels)


def _cause(error: Exception) -> str:
    return " ".join(str(error).split())[:120] if str(error) else type(error).__name__


def bytes_of(frames: int, frame_shape: tuple[int, ...], dtype: str) -> int:
    """Return the bytes that so many frames take on disk, without the head."""
    return frames * math.prod(frame_shape) * stored(dtype).itemsize
