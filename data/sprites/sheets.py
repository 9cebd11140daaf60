"""Flare's layered character sheets: animation files (pictures cut out of one image) and the order of the layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diffsda.data.check import Array
from diffsda.errors import InputError

DIRECTIONS = ("left", "up-left", "up", "up-right", "right", "down-right", "down", "down-left")
"""Where on the screen a character looks, by Flare's number."""
KINDS = ("looped", "play_once", "back_forth")
ORDER = "engine/hero_layers.txt"
AVATARS = "animations/avatar"
_MOST_PIXELS, _MOST_FRAMES = 1 << 26, 1000


@dataclass(frozen=True)
class Cell:
    """A rectangle of an image, in pixels, and where in it the character's feet are."""

    x: int
    y: int
    width: int
    height: int
    foot_x: int
    foot_y: int
    image: str = ""
    """Key of the image, where a sheet has several."""


@dataclass
class Action:
    """One action of a sheet; a frame that shows nothing of the layer has no cell."""

    kind: str = ""
    frames: int = 0
    cells: dict[tuple[int, int], Cell] = field(default_factory=dict)
    """By frame and direction."""

    def timeline(self, count: int) -> list[int]:
        """Return the frames seen at ``count`` moments, evenly spaced over one turn of the action."""
        there = list(range(self.frames))
        turn = there + there[::-1] if self.kind == "back_forth" else there
        return [turn[k * len(turn) // count] for k in range(count)]


@dataclass(frozen=True)
class Sheet:
    """One layer of a character: a part of its body or clothes, in all actions and directions."""

    path: Path
    actions: dict[str, Action]
    images: dict[str, Path]

    def action(self, name: str) -> Action:
        """Return an action. Raises: InputError if the sheet has none of that name."""
        if name not in self.actions:
            raise InputError(f"{self.path}: has no action {name!r}, expected it; found {', '.join(self.actions)}")
        return self.actions[name]

    def pixels(self) -> dict[str, Array]:
        """Return the images by key, (H, W, 4) uint8, RGB and opacity.

        Raises: InputError if one is missing or broken, or a cell reaches out of its image.
        """
        held = {key: _image(path) for key, path in self.images.items()}
        for name, action in self.actions.items():
            for (frame, direction), cell in action.cells.items():
                height, width = held[cell.image].shape[:2]
                if cell.x + cell.width > width or cell.y + cell.height > height:
                    raise InputError(
                        f"{self.path}: [{name}] frame {frame}, direction {direction}: reaches out of the image of "
                        f"{width}x{height} pixels"
                    )
        return held


def find_mod(tree: Path) -> Path:
    """Return the folder of the game's data with characters in it, in a package's tree or a checkout of the game.

    Raises: InputError if there is none.
    """
    for place in ("", "usr/share/games/flare/mods/fantasycore", "mods/fantasycore", "fantasycore"):
        mod = tree / place
        if (mod / ORDER).is_file() and (mod / AVATARS).is_dir():
            return mod
    raise InputError(
        f"{tree}: holds no {ORDER} with {AVATARS}/, expected Flare's data: the unpacked Debian package flare-game, or "
        "its folder mods/fantasycore"
    )


def read_order(mod: Path) -> tuple[tuple[str, ...], ...]:
    """Return for each of the eight directions the layers, back to front.

    Raises: InputError, with file and line, if the file is not as it should be.
    """
    path = mod / ORDER
    order: dict[int, tuple[str, ...]] = {}
    for number, key, value in _settings(path):
        first, *layers = [word.strip() for word in value.split(",")]
        if key != "layer" or not layers or "" in layers or len(set(layers)) < len(layers):
            raise InputError(f"{path}:{number}: got {key}={value}, expected layer=direction,name,name,...")
        order[_direction(first, path, number)] = tuple(layers)
    if missing := sorted(set(range(len(DIRECTIONS))) - set(order)):
        raise InputError(f"{path}: has no layers for direction {', '.join(map(str, missing))}, expected all eight")
    return tuple(order[direction] for direction in range(len(DIRECTIONS)))


def read_sheet(mod: Path, sex: str, part: str) -> Sheet:
    """Read the animation file of a part. Images are not opened yet.

    Raises: InputError, with file and line, if it is missing or not as it should be.
    """
    path = mod / AVATARS / sex / f"{part}.txt"
    actions: dict[str, Action] = {}
    images: dict[str, Path] = {}
    here: Action | None = None
    for number, key, value in _settings(path):
        where = f"{path}:{number}"
        if key == "[":
            if value in actions:
                raise InputError(f"{where}: has [{value}] a second time, expected it once")
            here = actions[value] = Action()
        elif key == "image":
            name, _, image_key = (word.strip() for word in value.partition(","))
            images[image_key] = _inside(mod, name, where)
        elif here is not None:
            _set(here, key, value, path, number)
    _check(path, actions, images)
    return Sheet(path, actions, images)


def _set(action: Action, key: str, value: str, path: Path, number: int) -> None:
    """Take in one setting of an action; those that do not change a picture are passed over."""
    if key == "frames":
        (action.frames,) = _numbers([value], path, number)
        if not 1 <= action.frames <= _MOST_FRAMES:
            raise InputError(f"{path}:{number}: got frames={value}, expected 1 to {_MOST_FRAMES}")
    elif key == "type":
        if value not in KINDS:
            raise InputError(f"{path}:{number}: got type={value}, expected one of {', '.join(KINDS)}")
        action.kind = value
    elif key == "frame":
        words = [word.strip() for word in value.split(",")]
        if len(words) not in (8, 9):
            raise InputError(
                f"{path}:{number}: got {len(words)} values, expected frame=index,direction,x,y,width,height,x,y[,image]"
            )
        frame, *numbers = _numbers(words[:1] + words[2:8], path, number)
        if min(frame, *numbers[:4]) < 0:
            raise InputError(f"{path}:{number}: got frame={value}, expected no negative place or size")
        x, y, width, height, foot_x, foot_y = numbers
        action.cells[frame, _direction(words[1], path, number)] = Cell(
            x, y, width, height, foot_x, foot_y, "".join(words[8:])
        )


def _check(path: Path, actions: dict[str, Action], images: dict[str, Path]) -> None:
    if not images or not actions:
        raise InputError(f"{path}: has no {'action' if images else 'image'}, expected image=... and [action] parts")
    for name, action in actions.items():
        if not action.frames or not action.kind:
            raise InputError(f"{path}: [{name}] has no {'type' if action.frames else 'frames'}, expected both")
        for frame, direction in action.cells:
            if frame >= action.frames:
                raise InputError(f"{path}: [{name}] has frame {frame}, expected {action.frames} frames from 0 on")
            if action.cells[frame, direction].image not in images:
                raise InputError(f"{path}: [{name}] frame {frame} names an image that is not there")


def _settings(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line, key and value of a file of the engine; the head of a part has the key "["."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected one of Flare's") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}), expected a text of Flare's") from None
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            yield number, "[", line[1:-1].strip()
            continue
        key, equals, value = line.partition("=")
        if not equals:
            raise InputError(f"{path}:{number}: got {line[:40]!r}, expected key=value or [part]")
        yield number, key.strip(), value.strip()


def _direction(word: str, path: Path, number: int) -> int:
    (direction,) = _numbers([word], path, number)
    if not 0 <= direction < len(DIRECTIONS):
        raise InputError(f"{path}:{number}: got direction {word}, expected 0 to {len(DIRECTIONS) - 1}")
    return direction


def _numbers(words: list[str], path: Path, number: int) -> list[int]:
    try:
        return [int(word) for word in words]
    except ValueError:
        raise InputError(f"{path}:{number}: got {','.join(words)[:60]!r}, expected whole numbers") from None


def _inside(mod: Path, name: str, where: str) -> Path:
    place = (mod / name).resolve()
    if not place.is_relative_to(mod.resolve()):
        raise InputError(f"{where}: names the image {name!r}, which lies outside of {mod}")
    return place


def _image(path: Path) -> Array:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise InputError(f"{path}: has {image.width}x{image.height} pixels, expected a sheet of 2^26 at most")
            return np.asarray(image.convert("RGBA"))
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected the image of a sheet") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read as an image ({error}); truncated?") from None
