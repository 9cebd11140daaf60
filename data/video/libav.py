"""PyAV, which brings FFmpeg's libraries along: the package, a file opened with it, its errors in our words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from diffsda.errors import DiffSDAError, InputError, MissingPackage


def libav() -> ModuleType:
    """Return the package.

    Raises: MissingPackage, with the pip line.
    """
    try:
        import av
    except ImportError as error:
        raise MissingPackage(f"reading video needs PyAV ({error}): pip install 'diffsda[video]'") from None
    return av


@contextmanager
def opened(path: str | os.PathLike[str], **codec_options: str) -> Iterator[tuple[Any, Any]]:
    """Open a file for decoding on one thread; give the container and its first real video stream.

    codec_options: for the decoder.
    Raises: InputError, by the file's name, for anything that goes wrong while it is open; MissingPackage.
    """
    av = libav()
    try:
        # The prefix says that it is a file, whatever protocol its name reads like.
        with av.open(f"file:{os.fspath(path)}", metadata_errors="replace") as container:
            stream = _video_stream(path, container)
            # Clips are decoded in parallel; threads within a clip would only get in their way.
            stream.codec_context.thread_count = 1
            stream.codec_context.options = codec_options
            yield container, stream
    except DiffSDAError:
        raise
    except (av.error.FFmpegError, OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """Say what libav did not like about a file, without its name."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "is a folder, expected a video"
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"cannot be decoded as video ({' '.join(words.split())}); truncated, damaged or no video?"


def _video_stream(path: str | os.PathLike[str], container: Any) -> Any:
    av = libav()
    # The cover of a song is a video stream of one picture.
    real = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not real:
        held = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise InputError(f"{path}: holds no video, only {held}")
    if real[0].codec_context is None:
        raise InputError(f"{path}: holds video of a codec that this build of FFmpeg cannot decode")
    return real[0]
