"""Folders of frames, one image each, as one video file: the images' own bytes wherever a video can hold them."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsda.data.video.film import Codec, encode, write_film
from diffsda.data.video.found import Order, names_in
from diffsda.data.video.jpeg import check_picture, header
from diffsda.data.video.pixels import fitted
from diffsda.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGES = (".jpg", ".jpeg", ".png")

Note = Callable[[Path, str], None]
"""Told of a file and what is wrong with it."""
Pictures = Callable[[], Iterator["Image"]]
"""Gives the pictures of a clip, mode RGB, from the first on, each time it is called."""
Change = Callable[[Pictures], Iterator["Image"]]
"""Makes other pictures of a clip's, one for one."""


@dataclass(frozen=True, kw_only=True)
class Ways:
    """How clips become files."""

    fewest: int = 2
    """Frames a clip must have at least."""
    rate: Fraction = Fraction(25)
    """Frames a second, where a source does not say."""
    size: int | None = None
    """Scale the shorter side down to this; None keeps it, and with it the images' own bytes."""
    codec: Codec = "mjpeg"
    """Of what has to be encoded."""
    strip: int | None = None
    """Width of a frame in an image of many side by side; None: they are square."""


@dataclass(frozen=True, slots=True)
class Still:
    """An image file that can be decoded."""

    path: Path
    width: int
    height: int
    form: tuple[Any, ...]
    """Codec and pixel layout, alike for images that one video can hold as they are; empty where none can."""


@dataclass(frozen=True, slots=True)
class Film:
    """A video file that was written."""

    frames: int
    width: int
    height: int
    codec: str
    rate: Fraction
    kept: bool
    """Its frames are the bytes of the images it was made from."""


def film_folder(
    folder: Path, target: Path, ways: Ways, note: Note, *, order: Order = "number", change: Change | None = None
) -> Film:
    """Make one video file of a folder of images.

    JPEGs of one size and kind are put into it as they are; what has to be changed (sizes that differ, ``ways.size``,
    ``change``) or cannot be kept so (PNG, unless ``ways.codec`` is png; progressive, CMYK or RGB JPEG) is encoded.
    Where sizes differ the commonest is taken, and the others are scaled and cut to it. What cannot be decoded is left
    out. Both are noted.
    Raises: InputError if fewer than ``ways.fewest`` images are left, the folder cannot be listed; SaveError.
    """
    stills = list(_usable(folder, order, note))
    enough(folder, len(stills), ways.fewest, "images that can be decoded")
    size = _common_size(folder, stills, note)
    alike = len({(still.width, still.height, still.form) for still in stills}) == 1
    unchanged = change is None and scaled_size(size, ways.size) == size
    if alike and unchanged and (held := _holder(stills[0].form, ways.codec)):
        blobs = (still.path.read_bytes() for still in stills)
        return Film(write_film(target, blobs, held, size, ways.rate), *size, held, ways.rate, kept=True)

    def pictures() -> Iterator[Image]:
        return (_fitted(_picture(still.path), size) for still in stills)

    return film_pictures(pictures, target, ways, ways.rate, change)


def film_pictures(pictures: Pictures, target: Path, ways: Ways, rate: Fraction, change: Change | None = None) -> Film:
    """Encode pictures of one size as one video file, changed and scaled down where that is asked for.

    Raises: InputError if there is none; SaveError.
    """
    changed = pictures() if change is None else change(pictures)
    first = next(changed, None)
    if first is None:
        raise InputError("holds no pictures")
    size = scaled_size(first.size, ways.size)
    if ways.codec == "vp9":
        size = size[0] + size[0] % 2, size[1] + size[1] % 2
    frames = encode(target, (_scaled(picture, size) for picture in chain((first,), changed)), ways.codec, size, rate)
    return Film(frames, *size, ways.codec, rate, kept=False)


def enough(source: Path, count: int, fewest: int, what: str) -> None:
    """Refuse a clip that is too short.

    Raises: InputError.
    """
    if count < fewest:
        raise InputError(f"{source}: got {count} {what}, expected at least {fewest}; the clip is left out")


def scaled_size(size: tuple[int, int], shorter: int | None) -> tuple[int, int]:
    """Return width and height once the shorter side is so long; images are never enlarged."""
    if shorter is None or min(size) <= shorter:
        return size
    tall, wide = fitted(size[1], size[0], shorter)
    return wide, tall


def still(path: Path) -> Still:
    """Look at an image file, decoding it whole, so that what is broken shows now and not while a model trains.

    Raises: ValueError, saying what is wrong.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    if not data:
        raise ValueError("is empty")
    image = open_image(io.BytesIO(data))
    if image.format == "JPEG":
        said = header(data)
        # An eighth of the pixels: all the data is read, most of the arithmetic left out.
        image.draft(None, (1, 1))
        _load(image)
        if not said.everyday:
            return Still(path, said.width, said.height, ())
        check_picture(data)
        return Still(path, said.width, said.height, ("mjpeg", said.sampling))
    form = ("png", image.mode) if image.format == "PNG" and image.mode in ("RGB", "RGBA") else ()
    _load(image)
    return Still(path, *image.size, form)


def open_image(file: Path | io.BytesIO) -> Image:
    """Open an image file, its pixels not yet decoded.

    Raises: ValueError, saying what is wrong.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(file)
    except UnidentifiedImageError:
        raise ValueError("is no image that can be read") from None
    except Exception as error:
        raise ValueError(f"cannot be read as an image ({_words(error)})") from None


def rgb(image: Image) -> Image:
    """Decode an image and return its colours, mode RGB: transparency is dropped, sixteen bits become eight.

    Raises: ValueError, saying what is wrong.
    """
    from PIL import Image

    _load(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _load(image: Image) -> None:
    try:
        image.load()
    except Exception as error:
        # A broken image can fail in any way that Pillow and its libraries know; all mean the same.
        raise ValueError(f"is a damaged image ({_words(error)})") from None


def _picture(path: Path) -> Image:
    try:
        return rgb(open_image(path))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _usable(folder: Path, order: Order, note: Note) -> Iterator[Still]:
    for name in names_in(folder, order, IMAGES):
        try:
            yield still(folder / name)
        except ValueError as error:
            note(folder / name, f"{error}; the frame is left out")


def _common_size(folder: Path, stills: Sequence[Still], note: Note) -> tuple[int, int]:
    """Return the commonest width and height, the first met where two are as common."""
    sizes = Counter((s.width, s.height) for s in stills)
    size = max(sizes, key=lambda s: sizes[s])
    if len(sizes) > 1:
        others = ", ".join(f"{count} of {w}x{h}" for (w, h), count in sizes.items() if (w, h) != size)
        note(folder, f"holds images of {len(sizes)} sizes ({others}), all are brought to {size[0]}x{size[1]}")
    return size


def _holder(form: tuple[Any, ...], wanted: Codec) -> Codec | None:
    """Return what holds images of a form as they are; PNG only if it is wanted, since few loaders read it."""
    if form and form[0] == "mjpeg":
        return "mjpeg"
    return "png" if form and wanted == "png" else None


def _fitted(picture: Image, size: tuple[int, int]) -> Image:
    """Scale and cut a picture to a size."""
    from PIL import Image, ImageOps

    return picture if picture.size == size else ImageOps.fit(picture, size, Image.Resampling.BILINEAR)


def _scaled(picture: Image, size: tuple[int, int]) -> Image:
    from PIL import Image

    return picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR)
