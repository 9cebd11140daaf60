"""Clips as video files that lose nothing: VP9, lossless, red, green and blue as they are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from diffsda.atomic import atomic_write
from diffsda.data.check import Array
from diffsda.data.video.libav import libav

RATE = Fraction(10)
"""Frames a second."""
# No frame hidden for later ones to refer to: a packet is a frame. One key frame, as clips are read whole.
_OPTIONS = {"lossless": "1", "lag-in-frames": "0", "auto-alt-ref": "0", "cpu-used": "8", "deadline": "realtime"}


def write_exact(path: Path, clip: Array) -> None:
    """Write a clip (V, 3, H, W) uint8 as an .mp4 file, whole or not at all; decoded, it is the same to the bit.

    PyAV and, on the CPU, DALI decode it; NVIDIA's decoders do not (no VP9 of this kind, nor any below 128 pixels).
    The same clip gives the same bytes with the same build of libvpx.
    Raises: SaveError if writing fails; MissingPackage without PyAV.
    """
    av = libav()

    def fill(file: BinaryIO) -> None:
        # Without this flag the file names the version of the library that wrote it.
        with av.open(file, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
            stream: Any = container.add_stream("libvpx-vp9", rate=RATE, options=_OPTIONS)
            stream.height, stream.width = clip.shape[2:]
            stream.pix_fmt = "gbrp"
            stream.codec_context.gop_size = len(clip)
            stream.codec_context.thread_count = 1
            for number, picture in enumerate(clip):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture.transpose(1, 2, 0)), format="rgb24")
                frame = frame.reformat(format="gbrp")
                frame.pts, frame.time_base = number, 1 / RATE
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))

    atomic_write(path, fill)
