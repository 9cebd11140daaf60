"""Clips of layered characters, in whole numbers: every machine renders the same bytes."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from diffsda.data.check import Array
from diffsda.data.sprites.design import BODY, FRAMES, Identity, Sprite
from diffsda.data.sprites.sheets import DIRECTIONS, Cell, Sheet, find_mod, read_order, read_sheet
from diffsda.errors import InputError

GREY = 128
"""Of the background: shadows and dark clothes are seen on it, and it is 0 in a model's units."""
WINDOW = 72
"""Height and width of what is seen, in the sheets' pixels."""
FOOT_X, FOOT_Y = 36, 56
"""Where in it a character stands."""


class SpriteRenderer:
    """Renders any character in any action, from Flare's data (see ``sheets.find_mod``).

    Sheets are read when they are first needed.
    Raises: InputError if the tree does not hold them, or one is broken.
    """

    def __init__(self, tree: Path) -> None:
        self.mod = find_mod(tree)
        self.order = read_order(self.mod)
        self._sheets: dict[tuple[str, str], tuple[Sheet, dict[str, Array]]] = {}

    def render(self, identity: Identity, action: str, direction: int, size: int = 64) -> Array:
        """Return one turn of an action, (8, 3, size, size) uint8, RGB from 0 to 255 on grey.

        Raises: InputError for a direction or size there cannot be, or what the sheets do not have.
        """
        if not 0 <= direction < len(DIRECTIONS):
            raise InputError(f"direction: got {direction}, expected 0 to {len(DIRECTIONS) - 1}")
        layers = [(sheet, images, sheet.action(action)) for sheet, images in self._layers(identity, direction)]
        first = layers[0][2]
        for sheet, _, other in layers:
            if (other.frames, other.kind) != (first.frames, first.kind):
                raise InputError(
                    f"{sheet.path}: [{action}] has other frames than {layers[0][0].path.name}, expected the same"
                )
        timeline = first.timeline(FRAMES)
        seen = {
            frame: _stack([(images, act.cells.get((frame, direction))) for _, images, act in layers])
            for frame in set(timeline)
        }
        small = {frame: reduce(picture, size) for frame, picture in seen.items()}
        return np.stack([small[frame] for frame in timeline]).transpose(0, 3, 1, 2).copy()

    def swap_target(self, static_of: Sprite, dynamic_of: Sprite, size: int = 64) -> Array:
        """Return the exact result of a swap, (8, 3, size, size) uint8: the character of one clip doing what is done in
        the other.
        """
        return self.render(static_of.identity, dynamic_of.action, dynamic_of.direction, size)

    def _layers(self, identity: Identity, direction: int) -> list[tuple[Sheet, dict[str, Array]]]:
        """Return the sheets of a character, back to front."""
        feet, hands = BODY
        worn = {
            "feet": feet,
            "hands": hands,
            "head": identity.head,
            "chest": identity.chest,
            "legs": identity.legs,
        }
        order = self.order[direction]
        if missing := sorted(set(worn) - set(order)):
            raise InputError(
                f"{self.mod}: the order of layers has no {', '.join(missing)}, expected them in all directions"
            )
        return [self._sheet(identity.sex, worn[layer]) for layer in order if layer in worn]

    def _sheet(self, sex: str, part: str) -> tuple[Sheet, dict[str, Array]]:
        if (sex, part) not in self._sheets:
            sheet = read_sheet(self.mod, sex, part)
            self._sheets[sex, part] = sheet, sheet.pixels()
        return self._sheets[sex, part]


def _stack(layers: list[tuple[dict[str, Array], Cell | None]]) -> Array:
    """Lay cells over each other on grey, each rounded to whole levels; (72, 72, 3) int32."""
    seen = np.full((WINDOW, WINDOW, 3), GREY, np.int32)
    for images, cell in layers:
        if cell is None:
            continue
        left, top = FOOT_X - cell.foot_x, FOOT_Y - cell.foot_y
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + cell.width, WINDOW), min(top + cell.height, WINDOW)
        if x1 <= x0 or y1 <= y0:
            continue
        cut = images[cell.image][cell.y - top + y0 : cell.y - top + y1, cell.x - left + x0 : cell.x - left + x1]
        colour, opacity = cut[..., :3].astype(np.int32), cut[..., 3:].astype(np.int32)
        under = seen[y0:y1, x0:x1]
        # Rounded half up: 255 times the blend, over 255.
        under[:] = (2 * (under * (255 - opacity) + colour * opacity) + 255) // 510
    return seen


def reduce(picture: Array, size: int) -> Array:
    """Scale a square picture (n, n, 3) of whole levels by area: (size, size, 3) uint8, rounded half up."""
    whole = len(picture)
    if not 8 <= size <= 1024:
        raise InputError(f"size: got {size}, expected 8 to 1024 pixels")
    weights = _overlaps(whole, size)
    # Sums of whole numbers below 2^24: exact in float32, in whatever order they are added.
    rows = weights @ picture.reshape(whole, -1).astype(np.float32)
    sums = (weights @ rows.reshape(size, whole, 3)).astype(np.int64)
    return ((2 * sums + whole**2) // (2 * whole**2)).astype(np.uint8)


@functools.cache
def _overlaps(whole: int, size: int) -> Array:
    """Return how far each new pixel covers each old one, (size, whole), in units of 1 / size of an old pixel."""
    new, old = np.arange(size)[:, None], np.arange(whole)[None]
    covered = np.minimum((new + 1) * whole, (old + 1) * size) - np.maximum(new * whole, old * size)
    return np.maximum(covered, 0).astype(np.float32)
