"""Clips that are one file (a GIF, an image of frames side by side, a video) as video files that loaders read."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from diffsda.data.video.found import Found
from diffsda.data.video.frames_folder import (
    IMAGES,
    Change,
    Film,
    Note,
    Ways,
    enough,
    film_folder,
    film_pictures,
    open_image,
    rgb,
)
from diffsda.data.video.libav import opened
from diffsda.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
CLIPS = (*VIDEOS, ".gif", *IMAGES)
"""Endings of files that are a clip."""


def film(clip: Found, target: Path, ways: Ways, note: Note, change: Change | None = None) -> Film:
    """Make a video file of a clip, whatever it lies there as.

    Raises: InputError, by the clip's file, if it cannot be read, is too short or no kind that is known; SaveError.
    """
    source = clip.source
    if source.is_dir():
        return film_folder(source, target, ways, note, order=clip.order, change=change)
    suffix = source.suffix.lower()
    if suffix in VIDEOS:
        return film_pictures(lambda: _video(source), target, ways, _rate(source, ways), change)
    try:
        if suffix == ".gif":
            return _film_gif(source, target, ways, change)
        if suffix in IMAGES:
            return _film_strip(source, target, ways, change)
    except ValueError as error:
        raise error if isinstance(error, InputError) else InputError(f"{source}: {error}") from None
    raise InputError(f"{source}: got a file ending in {suffix or 'nothing'}, expected one of {', '.join(CLIPS)}")


def in_place(clip: Found, ways: Ways, change: Change | None) -> bool:
    """Tell whether a clip is a video that can be used where it is, as it is."""
    return change is None and ways.size is None and clip.source.suffix.lower() in VIDEOS and clip.source.is_file()


def _film_gif(source: Path, target: Path, ways: Ways, change: Change | None) -> Film:
    image = open_image(source)
    try:
        count: int = getattr(image, "n_frames", 1)
    except Exception as error:
        # Pillow fails in many ways on what is damaged; all mean the same.
        raise InputError(f"{source}: is a damaged image ({error})") from None
    enough(source, count, ways.fewest, "frames")
    milliseconds = image.info.get("duration") or 0
    rate = Fraction(1000, round(milliseconds)) if milliseconds >= 1 else ways.rate

    def pictures() -> Iterator[Image]:
        whole = open_image(source)
        for number in range(count):
            try:
                whole.seek(number)
                picture = rgb(whole).copy()
            except Exception as error:
                raise InputError(f"{source}: frame {number} of {count} is damaged ({error})") from None
            yield picture

    return film_pictures(pictures, target, ways, rate, change)


def _film_strip(source: Path, target: Path, ways: Ways, change: Change | None) -> Film:
    whole = rgb(open_image(source))
    width, height = whole.size
    wide = ways.strip or height
    if width % wide:
        raise InputError(
            f"{source}: got an image {width} pixels wide, expected frames of {wide} side by side; say how wide one is "
            "with --strip"
        )
    enough(source, width // wide, ways.fewest, f"frames of {wide}x{height} side by side")
    return film_pictures(
        lambda: (whole.crop((left, 0, left + wide, height)) for left in range(0, width, wide)),
        target,
        ways,
        ways.rate,
        change,
    )


def _video(source: Path) -> Iterator[Image]:
    with opened(source) as (container, stream):
        for frame in container.decode(stream):
            yield frame.to_image()


def _rate(source: Path, ways: Ways) -> Fraction:
    with opened(source) as (_, stream):
        rate = stream.average_rate
        return Fraction(rate) if rate else ways.rate
