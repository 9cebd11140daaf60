"""Write video files: compressed images one after the other as they are, or pictures encoded."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from diffsda.atomic import atomic_write
from diffsda.data.video.encode import Encoding, write_video
from diffsda.data.video.libav import libav

if TYPE_CHECKING:
    from PIL.Image import Image

Codec = Literal["mjpeg", "vp9", "png"]
"""Motion JPEG: every frame for itself. VP9: a fifth of that, slower to make and read. PNG: no bit is lost, but only
PyAV's loader reads it."""
_PIXELS = {"mjpeg": "yuvj420p", "png": "rgb24"}
QUALITY = 95
"""Of JPEGs, on libjpeg's scale."""


def encode(path: Path, pictures: Iterable[Image], codec: Codec, size: tuple[int, int], rate: Fraction) -> int:
    """Encode pictures of one size, mode RGB, as an MP4 file and return how many there were.

    size: width and height; VP9 wants both even.
    Raises: as ``write_film``.
    """
    if codec == "vp9":
        return _encode_vp9(path, pictures, rate)
    return write_film(path, compress(pictures, codec), codec, size, rate)


def write_film(path: Path, images: Iterable[bytes], codec: Codec, size: tuple[int, int], rate: Fraction) -> int:
    """Write compressed images as the frames of an MP4 file, byte for byte, and return how many there were.

    size: width and height of all of them. rate: frames a second.
    A reader finds any frame at once (each is a key frame) and decodes the very pixels of the image. The same images
    give the same file.
    Raises: SaveError if writing fails; MissingPackage without PyAV.
    """
    av = libav()
    count = 0

    def fill(file: BinaryIO) -> None:
        nonlocal count
        # Without this flag the file names the version of the library that wrote it.
        with av.open(file, "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
            stream: Any = container.add_stream(codec, rate=rate)
            stream.width, stream.height = size
            stream.pix_fmt = _PIXELS[codec]
            for image in images:
                packet = av.Packet(image)
                packet.stream = stream
                packet.time_base = 1 / rate
                packet.pts = packet.dts = count
                packet.duration = 1
                packet.is_keyframe = True
                container.mux(packet)
                count += 1

    atomic_write(path, fill)
    return count


def _encode_vp9(path: Path, pictures: Iterable[Image], rate: Fraction) -> int:
    av = libav()
    count = 0

    def frames() -> Iterator[Any]:
        nonlocal count
        for picture in pictures:
            count += 1
            yield av.VideoFrame.from_image(picture)

    write_video(frames(), path, Encoding(codec="vp9"), rate)
    return count


def compress(pictures: Iterable[Image], codec: Codec) -> Iterator[bytes]:
    """Compress pictures, mode RGB: PNG, or JPEG of quality 95 with half the colour resolution.

    More colour resolution is lost on video, which has no more itself, and hardware decoders of JPEG want it halved.
    """
    for picture in pictures:
        file = io.BytesIO()
        if codec == "png":
            picture.save(file, "PNG", compress_level=3)
        else:
            picture.save(file, "JPEG", quality=QUALITY, subsampling="4:2:0")
        yield file.getvalue()
