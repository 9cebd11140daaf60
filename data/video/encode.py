"""Videos written for training: short groups of pictures, BT.601 colours, one frame a time step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from diffsda.atomic import atomic_write
from diffsda.data.video.libav import libav, opened
from diffsda.data.video.probe import sound_frames
from diffsda.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How videos are written.

    Both codecs are decoded by DALI on the CPU and by NVIDIA's decoders. mjpeg has key frames only, so any frame costs
    one; vp9 is several times smaller, and with a key frame every ``gop`` frames a frame costs (gop + 1) / 2.
    Raises: InputError if a value is out of range.
    """

    codec: Literal["vp9", "mjpeg"] = "vp9"
    gop: int = 8
    size: int | None = None
    """What the shorter side is made, if it is longer."""

    def __post_init__(self) -> None:
        if self.codec not in ("vp9", "mjpeg"):
            raise InputError(f"codec: got {self.codec!r}, expected vp9 or mjpeg")
        if not 1 <= self.gop <= 1000:
            raise InputError(f"gop: got {self.gop}, expected 1 to 1000 frames from key frame to key frame")
        if self.size is not None and not 8 <= self.size <= 8192:
            raise InputError(f"size: got {self.size}, expected 8 to 8192 pixels")


def recode(source: Path, target: Path, encoding: Encoding) -> None:
    """Write a video anew: every frame once, colours from what the file says to BT.601, turned as it should be shown.

    Frames follow each other evenly at the average rate: loaders count frames, not seconds.
    Raises: InputError, by name, if the source cannot be decoded; SaveError if the target cannot be written.
    """
    with opened(source, err_detect="explode") as (container, stream):
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        write_video((_upright(f) for f in sound_frames(source, container, stream)), target, encoding, rate)


def write_video(frames: Iterable[Any], target: Path, encoding: Encoding, fps: float | Fraction) -> None:
    """Write PyAV's frames to an .mp4 file, whole or not at all; colours go from what they say to BT.601.

    Raises: InputError if there is no frame, or the codec cannot hold it; SaveError if writing fails.
    """
    av = libav()

    def fill(file: BinaryIO) -> None:
        # Without this flag the file names the version of the library that wrote it.
        with av.open(file, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
            stream: Any = None
            for number, frame in enumerate(frames):
                stream = stream or _stream(container, encoding, _rate(fps), *_even(frame, encoding.size))
                try:
                    packets = stream.encode(_converted(frame, stream, number))
                except av.error.FFmpegError as error:
                    raise InputError(
                        f"{target}: {encoding.codec} cannot hold frames of {frame.width}x{frame.height} ({error})"
                    ) from error
                container.mux(packets)
            if stream is None:
                raise InputError(f"{target}: got no frames, expected at least one to write")
            container.mux(stream.encode(None))

    atomic_write(target, fill)


def _stream(container: Any, encoding: Encoding, rate: Fraction, width: int, height: int) -> Any:
    if encoding.codec == "mjpeg":
        stream = container.add_stream("mjpeg", rate=rate)
        stream.pix_fmt = "yuvj420p"
        stream.codec_context.qmin = stream.codec_context.qmax = 2
    else:
        # No frames hidden for later ones to refer to: a packet is a frame, and any group stands alone.
        options = {"crf": "16", "b": "0", "lag-in-frames": "0", "auto-alt-ref": "0", "cpu-used": "4", "row-mt": "0"}
        stream = container.add_stream("libvpx-vp9", rate=rate, options=options)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = encoding.gop
        stream.codec_context.color_range = 1  # limited
    stream.width, stream.height = width, height
    stream.codec_context.time_base = 1 / rate
    stream.codec_context.thread_count = 1
    return stream


def _converted(frame: Any, stream: Any, number: int) -> Any:
    kinds = libav().video.reformatter
    flags = kinds.Interpolation
    # libswscale takes what is not said for BT.601.
    space = kinds.Colorspace
    source = {1: space.ITU709, 4: space.FCC, 7: space.SMPTE240M, 9: space.BT2020, 10: space.BT2020}
    made = frame.reformat(
        stream.width,
        stream.height,
        stream.pix_fmt,
        src_colorspace=source.get(int(frame.colorspace), space.ITU601),
        dst_colorspace=space.ITU601,
        dst_color_range=kinds.ColorRange.JPEG if stream.pix_fmt == "yuvj420p" else kinds.ColorRange.MPEG,
        threads=1,
        interpolation=flags.BILINEAR | flags.ACCURATE_RND | flags.FULL_CHR_H_INP | flags.FULL_CHR_H_INT,
    )
    made.pts, made.time_base = number, stream.codec_context.time_base
    made.pict_type = 0  # what the source's encoder chose is nothing to this one
    return made


def _upright(frame: Any) -> Any:
    turns = round(frame.rotation / 90) % 4
    if not turns:
        return frame
    kinds = libav()
    shown = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
    return kinds.VideoFrame.from_ndarray(shown, format="rgb24")


def _even(frame: Any, size: int | None) -> tuple[int, int]:
    """Return width and height to write: scaled down to ``size``, both even, as chroma has half as many."""
    shorter = min(frame.width, frame.height)
    scale = 1.0 if size is None or size >= shorter else size / shorter
    width, height = (2 * math.ceil(side * scale / 2 - 1e-6) for side in (frame.width, frame.height))
    return width, height


def _rate(fps: float | Fraction) -> Fraction:
    return Fraction(fps).limit_denominator(1001) if 0.01 <= fps <= 1000 else Fraction(25)
