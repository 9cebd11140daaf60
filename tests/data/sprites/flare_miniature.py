"""A miniature of Flare's data in its very format, drawn here: small blocks of colour for parts of characters."""

import numpy as np
from PIL import Image

from diffsda.data.sprites.design import BODY, Design

ACTIONS = {"run": (8, "looped"), "swing": (4, "play_once"), "stance": (3, "back_forth")}
# Layer -> top and height of its block above the feet, and its width.
PLACES = {"feet": (4, 4, 10), "legs": (16, 12, 8), "hands": (24, 4, 16), "chest": (30, 14, 10), "head": (40, 10, 8)}
MINI = Design(
    name="compact",
    heads={"male": ("hair",), "female": ("hood",)},
    chests=("shirt", "mail"),
    legs=("trousers", "skirt", "bare", "greaves", "kilt"),
    actions=("run", "swing"),
    directions=(6,),
)
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2011-2030 A Painter
 and others
License: CC-BY-SA-3.0+

Files: debian/*
Copyright: 2012 A Packager
License: GPL-3+
"""


def draw(mod, sex, part, layer, number, opacity=255):
    """Write a part's image, one cell a frame and direction, and its animation file."""
    top, height, width = PLACES[layer]
    lines, cells = [f"image=images/avatar/{sex}/{part}.png", "# a comment"], []
    for action, (frames, kind) in ACTIONS.items():
        lines += ["", f"[{action}]", f"frames={frames}", "duration=400ms", f"type={kind}"]
        for frame in range(frames):
            for direction in range(8):
                x, y = (len(cells) % 32) * 16, (len(cells) // 32) * 16
                # A step to the side for every frame, another way in every direction.
                foot_x = width // 2 + (frame - frames // 2) * (1 if direction < 4 else -1)
                lines.append(f"frame={frame},{direction},{x},{y},{width},{height},{foot_x},{top}")
                cells.append((x, y, direction))
    sheet = np.zeros((16 * (len(cells) // 32 + 1), 512, 4), np.uint8)
    shade = np.array([60 * number % 256, 255 - 70 * number % 256, 90 + 40 * number % 160])
    for x, y, direction in cells:
        sheet[y : y + height, x : x + width, :3] = shade * (1 - 0.06 * direction)
        sheet[y : y + height, x : x + width, 3] = opacity
    for folder in (mod / "images/avatar" / sex, mod / "animations/avatar" / sex):
        folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(mod / "images/avatar" / sex / f"{part}.png")
    (mod / "animations/avatar" / sex / f"{part}.txt").write_text("\n".join(lines) + "\n")


def draw_tree(tree, design=MINI):
    """Write all parts of a design, and what else is read of the package."""
    mod = tree / "usr/share/games/flare/mods/fantasycore"
    for sex, heads in design.heads.items():
        layers = {"feet": BODY[:1], "hands": BODY[1:], "head": heads, "chest": design.chests, "legs": design.legs}
        for layer, parts in layers.items():
            for number, part in enumerate(parts, 2 if sex == "male" else 3):
                draw(mod, sex, part, layer, number)
    (mod / "engine").mkdir()
    order = [f"layer={d},main,feet,legs,hands,chest,head,off" for d in range(7)]
    # Looking this way, the hands are in front of everything and the head is behind.
    order.append("layer=7,head,feet,legs,chest,hands,off,main")
    (mod / "engine/hero_layers.txt").write_text("\n".join(["# order of the layers", "", *order]) + "\n")
    (tree / "usr/share/doc/flare-game").mkdir(parents=True)
    (tree / "usr/share/doc/flare-game/copyright").write_text(COPYRIGHT)
    return mod
