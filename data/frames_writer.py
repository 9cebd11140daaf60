"""Clips of many frames written to disk as they come, frame after frame in one file, and gone on with after a kill."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from diffsda.data.check import Array
from diffsda.data.frames_format import (
    CLIPS,
    FRAMES,
    Index,
    bytes_of,
    header,
    read_header,
    read_index,
    stored,
    to_stored,
)
from diffsda.errors import InputError, SaveError

COMMIT_SECONDS = 5.0
"""Clips a power cut may take back: those of the last seconds. A kill takes back only the one under way."""


class FrameWriter:
    """Append clips to a folder of frames, one of the splits of a prepared set.

    A clip is there whole or not at all. A writer on a folder that was begun goes on behind its last whole clip;
    whoever fills it leaves out the keys it has (``key in writer``) and brings the rest in the same order, and the
    files become what they would have been. Memory does not grow with frames, only with the number of clips.
    """

    def __init__(self, folder: str | os.PathLike[str], frame_shape: Sequence[int], dtype: str = "bf16") -> None:
        """Begin a folder, or go on with it.

        frame_shape: of one frame, (F,) or (C, H, W). dtype: float32, float16 or bf16.
        Raises: InputError if the folder holds other frames or another process writes to it; SaveError if it cannot
        be written.
        """
        self.folder, self.shape, self.dtype = Path(folder), tuple(map(int, frame_shape)), dtype
        if not self.shape or any(n < 1 for n in self.shape):
            raise InputError(f"frame_shape: got {self.shape}, expected sizes of at least 1")
        self._head = header(0, self.shape, dtype)
        self._under_way = 0  # frames of the clip that is not ended yet
        self._spoiled: Exception | None = None  # what went wrong with it
        self._waiting: list[str] = []
        self._committed = time.monotonic()
        self._frames = self._clips = -1
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._frames = os.open(self.folder / FRAMES, os.O_RDWR | os.O_CREAT, 0o666)
            self._lock()
            self._clips = os.open(self.folder / CLIPS, os.O_RDWR | os.O_CREAT, 0o666)
            self._index, self._clips_size = self._go_on()
        except BaseException as error:
            self._shut()
            if isinstance(error, OSError):
                raise self._failed(error) from error
            raise
        self._known = set(self._index.keys)

    def __enter__(self) -> FrameWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.finish()
        else:
            # What is whole stays; the error under way says more than one of tidying up after it.
            with contextlib.suppress(SaveError):
                self.close()

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __len__(self) -> int:
        return len(self._index.keys)

    @property
    def total(self) -> int:
        """Frames of all whole clips."""
        return self._index.total

    def append(self, key: str, frames: Array, labels: Mapping[str, int] | None = None) -> bool:
        """Append a whole clip, frames (V, *frame) of floats; tell whether it was new.

        Raises: as ``add`` and ``end``.
        """
        if key in self:
            return False
        try:
            self.add(frames)
            self.end(key, labels)
        except Exception:
            self.drop()
            raise
        return True

    def add(self, frames: Array) -> None:
        """Write the next frames (n, *frame) of the clip under way; uint16 is bf16 that is coded already.

        Raises: InputError for frames of another shape or with numbers that are not finite; SaveError if the disk is
        full. Either spoils the clip under way: nothing can be added to it, nor can it be ended, until ``drop``.
        """
        if self._spoiled is not None:
            raise self._spoiled
        try:
            if frames.shape[1:] != self.shape:
                raise InputError(f"frames: got {frames.shape}, expected (n, {', '.join(map(str, self.shape))})")
            self._write(to_stored(frames, self.dtype))
        except OSError as error:
            self._spoiled = self._failed(error)
            raise self._spoiled from error
        except InputError as error:
            self._spoiled = error
            raise
        self._under_way += len(frames)

    def end(self, key: str, labels: Mapping[str, int] | None = None) -> None:
        """End the clip under way: from now on it is there, under this key.

        Raises: InputError for a key that is taken or a clip without frames; SaveError if the disk is full; what spoiled
        the clip.
        """
        if self._spoiled is not None:
            raise self._spoiled
        if key in self or not self._under_way:
            what = "taken already" if key in self else "a clip without frames"
            self._give_up()
            raise InputError(f"key {key!r}: is {what}, expected a new clip of at least 1 frame")
        plain = {str(name): int(value) for name, value in (labels or {}).items()}
        self._waiting.append(self._index.add(key, self._under_way, plain))
        self._known.add(key)
        self._under_way = 0
        if time.monotonic() - self._committed > COMMIT_SECONDS:
            self.commit()
        else:
            self._write_lines()

    def drop(self) -> None:
        """Give up the clip under way, if there is one; the next frames are of another."""
        self._give_up()
        self._spoiled = None

    def commit(self) -> None:
        """Put everything that is whole safely on disk. Raises: SaveError."""
        try:
            # Frames before the lines that speak of them: a power cut must not leave a line without its clip.
            os.fsync(self._frames)
            self._write_lines()
            os.fsync(self._clips)
        except SaveError:
            raise
        except OSError as error:
            raise self._failed(error) from error
        self._committed = time.monotonic()

    def finish(self) -> None:
        """Write the number of frames into the head of the file, and close. Raises: SaveError."""
        self._give_up()
        try:
            os.pwrite(self._frames, header(self.total, self.shape, self.dtype), 0)
        except OSError as error:
            raise self._failed(error) from error
        self.close()

    def close(self) -> None:
        """Leave the folder as one to go on with; a clip that was not ended is cut off. Raises: SaveError."""
        if self._frames < 0:
            return
        try:
            self._give_up()
            self.commit()
        finally:
            self._shut()

    def _shut(self) -> None:
        for number in (self._frames, self._clips):
            if number >= 0:
                os.close(number)
        self._frames = self._clips = -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self._frames, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{self.folder}: another process writes to it, expected one at a time") from None

    def _go_on(self) -> tuple[Index, int]:
        """Cut off what a kill left half written; return what is whole."""
        size = os.fstat(self._frames).st_size
        index, lines = read_index(self.folder / CLIPS, torn=True)
        if size >= len(self._head):
            with (self.folder / FRAMES).open("rb") as file:
                shape, kind, _ = read_header(file, self.folder / FRAMES)
            if shape[1:] != self.shape or kind != stored(self.dtype):
                raise InputError(
                    f"{self.folder}: was begun with frames {shape[1:]} of {kind}, got {self.shape} of {self.dtype}; "
                    "use the same options, or a new folder"
                )
        else:
            os.pwrite(self._frames, self._head, 0)
            size = len(self._head)
        end = len(self._head) + bytes_of(index.total, self.shape, self.dtype)
        if size < end:
            raise InputError(
                f"{self.folder / FRAMES}: got {size} bytes, expected {end} for the clips in {CLIPS}; frames were lost: "
                "prepare the set again into a new folder"
            )
        os.ftruncate(self._frames, end)
        os.ftruncate(self._clips, lines)
        os.lseek(self._frames, 0, os.SEEK_END)
        os.lseek(self._clips, 0, os.SEEK_END)
        return index, lines

    def _write(self, coded: Array) -> None:
        view = coded.reshape(-1).view(np.uint8).data
        while view:
            view = view[os.write(self._frames, view) :]

    def _write_lines(self) -> None:
        data = "".join(self._waiting).encode()
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._clips, view) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._clips, self._clips_size)
                os.lseek(self._clips, self._clips_size, os.SEEK_SET)
            raise self._failed(error) from error
        self._clips_size += len(data)
        self._waiting.clear()

    def _give_up(self) -> None:
        """Cut off the clip under way."""
        end = len(self._head) + bytes_of(self.total, self.shape, self.dtype)
        if self._frames >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._frames, end)
                os.lseek(self._frames, end, os.SEEK_SET)
        self._under_way = 0

    def _failed(self, error: OSError) -> SaveError:
        return SaveError(
            f"{self.folder}: could not be written ({error.strerror}); the clips written so far stay: make room, then "
            "run the same command again"
        )
