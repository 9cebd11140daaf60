"""Rendering: parts where they belong, in front of each other as the game has them, to the level."""

import numpy as np
import pytest

from diffsda.data.sprites.design import Sprite
from diffsda.data.sprites.render import GREY, SpriteRenderer, reduce
from diffsda.errors import InputError


def picture(flare, direction=0, size=72, action="stance"):
    """Return the first frame of an action, (size, size, 3) int."""
    return SpriteRenderer(flare.tree).render(flare.who, action, direction, size)[0].transpose(1, 2, 0).astype(int)


def test_parts_lie_where_the_sheet_says(flare):
    seen = picture(flare)
    # The head: 8 wide and 10 high, its top 40 above the feet at (36, 56); frame 0 of 3 is a step to the right.
    rows, columns = np.nonzero((seen != GREY).any(-1))
    head = seen[16:26]
    assert rows.min() == 56 - 40
    assert np.nonzero((head != GREY).any((0, 2)))[0].tolist() == list(range(33, 41))
    assert len({tuple(pixel) for pixel in head[:, 33:41].reshape(-1, 3)}) == 1
    assert columns.min() > 20
    assert (seen[60:] == GREY).all()


@pytest.mark.parametrize(("direction", "above"), [(0, "head"), (7, "hands")])
def test_layers_hide_each_other_in_their_order(flare, direction, above):
    # Both in one place now.
    for part, layer, number in (("hair", "head", 2), ("default_hands", "head", 5)):
        flare.draw(flare.mod, "male", part, layer, number)
    both = picture(flare, direction)[20, 36]
    flare.draw(flare.mod, "male", "hair" if above == "hands" else "default_hands", "head", 2, opacity=0)
    alone = picture(flare, direction)[20, 36]
    assert (both == alone).all()
    assert (alone != GREY).any()


@pytest.mark.parametrize("opacity", [1, 77, 128, 254])
def test_what_is_half_there_is_blended(flare, opacity):
    flare.draw(flare.mod, "male", "hair", "head", 2, opacity=255)
    colour = picture(flare)[20, 36]
    flare.draw(flare.mod, "male", "hair", "head", 2, opacity=opacity)
    exact = (colour * opacity + GREY * (255 - opacity)) / 255
    assert (picture(flare)[20, 36] == np.floor(exact + 0.5)).all()


def test_frames_follow_the_action(flare):
    clip = SpriteRenderer(flare.tree).render(flare.who, "swing", 0, 32)
    assert clip.shape == (8, 3, 32, 32)
    assert clip.dtype == np.uint8
    assert all((clip[k] == clip[k + 1]).all() for k in (0, 2, 4, 6))
    assert all((clip[k] != clip[k + 1]).any() for k in (1, 3, 5))
    run = SpriteRenderer(flare.tree).render(flare.who, "run", 0, 32)
    assert len({frame.tobytes() for frame in run}) == 8


@pytest.mark.parametrize(("whole", "size"), [(72, 64), (72, 32), (9, 8), (16, 16), (12, 20)])
def test_scaling_is_by_area(whole, size):
    levels = np.random.default_rng(0).integers(0, 256, (whole, whole, 3))
    # Every pixel in small ones, as many as make both grids fit, then the mean over these.
    split, merged = size // np.gcd(whole, size), whole // np.gcd(whole, size)
    fine = levels.repeat(split, 0).repeat(split, 1)
    exact = fine.reshape(size, merged, size, merged, 3).sum((1, 3))
    assert (reduce(levels, size) == (2 * exact + merged**2) // (2 * merged**2)).all()


def test_a_swap_is_the_other_clip(flare):
    renderer = SpriteRenderer(flare.tree)
    other = Sprite(flare.design.identities()[-1], "swing", 6)
    made = renderer.swap_target(Sprite(flare.who, "run", 0), other, 32)
    assert (made == renderer.render(flare.who, "swing", 6, 32)).all()
    assert (made != renderer.render(other.identity, "swing", 6, 32)).any()


def test_what_cannot_be_rendered_is_refused(flare):
    renderer = SpriteRenderer(flare.tree)
    with pytest.raises(InputError, match="direction: got 8"):
        renderer.render(flare.who, "run", 8)
    with pytest.raises(InputError, match="size: got 4"):
        renderer.render(flare.who, "run", 0, 4)
    with pytest.raises(InputError, match="has no action 'fly', expected it; found run, swing"):
        renderer.render(flare.who, "fly", 0)


def test_layers_of_other_lengths_are_refused(flare):
    path = flare.mod / "animations/avatar/male/shirt.txt"
    path.write_text(path.read_text().replace("frames=8", "frames=9"))
    with pytest.raises(InputError, match=r"\[run\] has other frames than default_feet.txt"):
        SpriteRenderer(flare.tree).render(flare.who, "run", 0)


def test_an_order_without_a_part_is_refused(flare):
    path = flare.mod / "engine/hero_layers.txt"
    path.write_text(path.read_text().replace("legs,", ""))
    with pytest.raises(InputError, match="the order of layers has no legs"):
        SpriteRenderer(flare.tree).render(flare.who, "run", 0)
