"""Clips that move, side by side: a short WebM and its first picture, small enough to go into a page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from diffsda.data.video.libav import libav
from diffsda.errors import InputError
from diffsda.report import mosaic

WIDE = 640
"""Dots a film is magnified to at most; a wider one stays as it is."""
SECONDS = 1.6
"""What the longest clip takes at least, as far as 4 to 12 frames a second allow."""
MOST = 96
"""Frames shown of a long clip, from its beginning."""


def moving(cells: Sequence[Sequence[mosaic.Array | None]], scale: tuple[float, float]) -> mosaic.Pixels:
    """Lay clips out in rows and columns, frame by frame, magnified: (V, H, W, 3), H and W even.

    Shapes: cells of video (V, C, H, W), or None for a gap. A clip that is over stays on its last frame. ``scale`` are
    the values drawn darkest and brightest.
    Raises: InputError if there is no clip.
    """
    clips = [clip for row in cells for clip in row if clip is not None]
    if not clips:
        raise InputError("film: got no clip, expected one at least")
    gap = max(2, clips[0].shape[2] // 8)
    frames = []
    for v in range(min(MOST, max(len(clip) for clip in clips))):
        now = [
            [None if clip is None else mosaic.film(clip[min(v, len(clip) - 1)][None], scale) for clip in row]
            for row in cells
        ]
        frames.append(mosaic.lay(now, gap)[0])
    film = np.stack(frames)
    times = max(1, WIDE // film.shape[2])
    film = film.repeat(times, axis=1).repeat(times, axis=2)
    # Chroma has half as many dots each way.
    odd = ((0, 0), (0, film.shape[1] % 2), (0, film.shape[2] % 2), (0, 0))
    return np.pad(film, odd, constant_values=mosaic.WHITE)


def webm(frames: mosaic.Pixels) -> bytes:
    """Return frames (V, H, W, 3) as a WebM of VP9, which all browsers of these years play; the same bytes every time.

    Raises: InputError if the shape is no film's; MissingPackage without PyAV.
    """
    av = libav()
    if frames.ndim != 4 or frames.shape[3] != 3 or not len(frames) or frames.shape[1] % 2 or frames.shape[2] % 2:
        raise InputError(f"film: got {frames.shape}, expected (V, H, W, 3) with even H and W, at least one frame")
    rate = Fraction(max(4, min(12, round(len(frames) / SECONDS))))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="webm", container_options={"fflags": "+bitexact"}) as container:
        # cpu-used 4 is four times as fast as 1 for a tenth more bytes.
        options = {"crf": "30", "b": "0", "cpu-used": "4", "deadline": "good", "row-mt": "0"}
        stream = container.add_stream("libvpx-vp9", rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def poster(frames: mosaic.Pixels) -> bytes:
    """Return the first frame as a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frames[0]).save(buffer, format="PNG")
    return buffer.getvalue()
