"""JPEG: what one says of itself, to know whether a video can hold it as it is, and whether it is whole."""

from __future__ import annotations

from dataclasses import dataclass

from diffsda.data.video.libav import libav

# Start-of-frame markers: C4, C8 and CC, which lie between them, mean other things.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_BASELINE = frozenset({0xC0, 0xC1})
_SCAN, _END, _ADOBE = 0xDA, 0xD9, 0xEE


@dataclass(frozen=True, slots=True)
class Header:
    """The frame header of a JPEG."""

    width: int
    height: int
    sampling: tuple[int, ...]
    """A byte a component: samples across (high half) and down (low half)."""
    process: int
    """The start-of-frame marker: 0xC0 baseline, 0xC2 progressive and so on."""
    bits: int
    transform: int | None
    """Adobe's colour transform: 0 is RGB or CMYK as it is; None where nothing is said."""

    @property
    def everyday(self) -> bool:
        """Whether every decoder of motion JPEG takes it: sequential, eight bits, grey or YCbCr."""
        colours = len(self.sampling) == 1 or (len(self.sampling) == 3 and self.transform != 0)
        return self.process in _BASELINE and self.bits == 8 and colours


def header(data: bytes) -> Header:
    """Read the header of a JPEG.

    Raises: ValueError, saying what is wrong, if there is none.
    """
    if data[:2] != b"\xff\xd8":
        raise ValueError("is no JPEG")
    transform, at = None, 2
    while True:
        marker, at = _marker(data, at)
        if marker in _ALONE:
            continue
        if marker in (_SCAN, _END):
            raise ValueError("is a JPEG without a frame header")
        length = int.from_bytes(data[at : at + 2], "big")
        part = data[at + 2 : at + length]
        if length < 2 or len(part) != length - 2:
            raise ValueError("is a truncated JPEG")
        if marker == _ADOBE and part[:5] == b"Adobe" and len(part) >= 12:
            transform = part[11]
        if marker in _FRAMES:
            return _frame(part, marker, transform)
        at += length


def check_picture(data: bytes) -> None:
    """Decode a JPEG strictly, as a video of one frame.

    Pillow decodes past damage within the picture without a word, and garbage is what a model would be shown.
    Raises: ValueError if any part of it is damaged; MissingPackage without PyAV.
    """
    av = libav()
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = {"err_detect": "explode"}
    decoder.thread_count = 1
    try:
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    except (av.error.FFmpegError, ValueError, EOFError) as error:
        raise ValueError(f"is a damaged JPEG ({error.strerror if isinstance(error, OSError) else error})") from None
    if len(frames) != 1 or frames[0].is_corrupt:
        raise ValueError("is a damaged JPEG")


def _marker(data: bytes, at: int) -> tuple[int, int]:
    """Return the marker at a place and where its content begins; any number of FF bytes may come before it."""
    if data[at : at + 1] != b"\xff":
        raise ValueError("is a truncated or damaged JPEG")
    while data[at : at + 1] == b"\xff":
        at += 1
    if at >= len(data):
        raise ValueError("is a truncated JPEG")
    return data[at], at + 1


def _frame(part: bytes, marker: int, transform: int | None) -> Header:
    if len(part) < 6 or len(part) < 6 + 3 * part[5] or not part[5]:
        raise ValueError("is a JPEG with a damaged frame header")
    height, width = int.from_bytes(part[1:3], "big"), int.from_bytes(part[3:5], "big")
    if not height or not width:
        raise ValueError(f"is a JPEG of {width}x{height} pixels")
    sampling = tuple(part[7 + 3 * i] for i in range(part[5]))
    return Header(width, height, sampling, marker, part[0], transform)
