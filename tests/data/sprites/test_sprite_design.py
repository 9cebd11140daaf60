"""The design: everything crossed with everything, characters held out whole, labels that say what is what."""

import hashlib

import numpy as np
import pytest

from diffsda.data.sprites.design import COMPACT, DESIGNS, DYNAMIC, FULL, STATIC, target_rows
from diffsda.errors import InputError


@pytest.mark.parametrize(
    ("design", "people", "clips"), [(COMPACT, 396, [2772, 396, 396]), (FULL, 960, [31_200, 3600, 3600])]
)
def test_characters_are_held_out_and_their_parts_are_not(design, people, clips):
    splits = design.splits()
    assert [len(part) for part in splits.values()] == clips
    who = {split: {sprite.identity for sprite in part} for split, part in splits.items()}
    assert len(set().union(*who.values())) == sum(map(len, who.values())) == people
    for name in STATIC:
        everywhere = {getattr(one, name) for one in design.identities()}
        assert {getattr(one, name) for one in who["train"]} == everywhere
    heads = {(one.sex, one.head) for one in design.identities()}
    assert all({(one.sex, one.head) for one in part} == heads for part in who.values())
    keys = [sprite.key for part in splits.values() for sprite in part]
    assert len(set(keys)) == len(keys)


def test_the_split_is_always_the_same():
    held_out = "\n".join(sprite.key for sprite in COMPACT.splits()["test"])
    assert hashlib.sha256(held_out.encode()).hexdigest()[:16] == "57cf4c99d09104c0"


@pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
def test_labels_say_which_clip_it_is(design):
    sprites = design.splits()["val"]
    assert all(design.sprite(design.labels(sprite)) == sprite for sprite in sprites[:: len(sprites) // 50])
    for labels in map(design.labels, sprites):
        assert all(0 <= value < len(design.label_names[name]) for name, value in labels.items())


def test_labels_of_no_clip_are_refused():
    labels = COMPACT.labels(COMPACT.splits()["test"][0])
    with pytest.raises(InputError, match="label legs: got 6, expected 0 to 5"):
        COMPACT.sprite({**labels, "legs": 6})
    with pytest.raises(InputError, match="label action: got None"):
        COMPACT.sprite({name: value for name, value in labels.items() if name != "action"})


def columns(sprites):
    rows = [COMPACT.labels(sprite) for sprite in sprites]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def test_results_of_swaps_are_in_the_same_split():
    sprites = COMPACT.splits()["test"]
    labels = columns(sprites)
    draw = np.random.default_rng(0)
    static_of, dynamic_of = draw.integers(len(sprites), size=(2, 200))
    found = target_rows(labels, static_of, dynamic_of)
    assert all((labels[name][found] == labels[name][static_of]).all() for name in STATIC)
    assert all((labels[name][found] == labels[name][dynamic_of]).all() for name in DYNAMIC)
    assert (target_rows(labels, static_of, static_of) == static_of).all()


def test_swaps_without_a_result_are_refused():
    sprites = COMPACT.splits()["test"][1:]
    labels = columns(sprites)
    # The first clip is gone: the character of the second cannot do what another does in the same way.
    twin = next(k for k, one in enumerate(sprites) if (one.action, one.direction) == ("run", 0))
    with pytest.raises(InputError, match="swap 1: the split holds no clip of its labels"):
        target_rows(labels, [3, 0], [4, twin])
    labels.pop("head")
    with pytest.raises(InputError, match="labels: got no head"):
        target_rows(labels, [0], [1])
