"""One picture of what a set holds: characters in all they do, and actions frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from diffsda.atomic import atomic_write
from diffsda.data.check import Array
from diffsda.data.sprites.design import FRAMES, Design, Identity
from diffsda.data.sprites.render import GREY, SpriteRenderer

NAME = "contact-sheet.png"
ROWS, COLUMNS, ENLARGED = 6, 9, 2


def write_contact_sheet(
    path: Path, renderer: SpriteRenderer, design: Design, people: list[Identity], size: int
) -> None:
    """Draw six characters, each in nine pairs of action and direction, and below one character's actions over time."""
    from PIL import Image

    every = max(len(people) // ROWS, 1)
    pairs = [(action, direction) for direction in design.directions for action in design.actions]
    chosen = [pairs[k * len(pairs) // COLUMNS] for k in range(min(COLUMNS, len(pairs)))]
    rows = [
        [renderer.render(who, action, direction, size)[FRAMES // 2] for action, direction in chosen]
        for who in people[::every][:ROWS]
    ]
    rows += [list(renderer.render(people[0], action, design.directions[-1], size)) for action in design.actions]
    sheet = _grid(rows, size).repeat(ENLARGED, 0).repeat(ENLARGED, 1)

    def fill(file: BinaryIO) -> None:
        Image.fromarray(sheet).save(file, "PNG")

    atomic_write(path, fill)


def _grid(rows: list[list[Array]], size: int) -> Array:
    """Put pictures (3, H, W) into rows, (height, width, 3) uint8, grey where there is none."""
    sheet = np.full((len(rows) * size, max(map(len, rows)) * size, 3), GREY, np.uint8)
    for top, row in enumerate(rows):
        for left, picture in enumerate(row):
            sheet[top * size : (top + 1) * size, left * size : (left + 1) * size] = picture.transpose(1, 2, 0)
    return sheet
