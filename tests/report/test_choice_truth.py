"""Which clips are shown, and what their swaps should be."""

import dataclasses

import numpy as np
import pytest

from diffsda.data.clip import Clips
from diffsda.data.registry import open_clips
from diffsda.data.sprites.design import DYNAMIC, STATIC
from diffsda.data.synthetic import shapes
from diffsda.report.choice import chosen, columns, described
from diffsda.report.truth import truth


def test_clips_are_unlike_each_other_and_the_same_every_time():
    clips = open_clips("moving_shapes", "test")
    givers, takers = chosen(clips, 4, 7)
    assert len(set(givers) | set(takers)) == 8
    assert len(set(clips.labels["shape"][givers])) == 4
    assert len(set(clips.labels["colour"][givers])) == 4
    assert len(set(clips.labels["path"][takers, 0])) == 3
    again = chosen(clips, 4, 7)
    assert (again[0] == givers).all()
    assert (again[1] == takers).all()
    assert (chosen(clips, 4, 8)[0] != givers).any()


@pytest.mark.parametrize(("clips", "count", "sizes"), [(2, 4, (2, 2)), (5, 4, (4, 1)), (9, 4, (4, 4))])
def test_few_clips_without_labels_will_do(clips, count, sizes):
    few = Clips(np.zeros((clips, 3, 2), np.float32))
    assert tuple(map(len, chosen(few, count, 0))) == sizes


def test_labels_are_told_in_words():
    clips = open_clips("moving_shapes", "test")
    rows = np.array([0, 5])
    assert columns(clips) == ("clip", "shape", "colour", "size")
    assert described(clips, rows)[1][:2] == ("clip 5", shapes.SHAPES[clips.labels["shape"][5]])
    bare = Clips(np.zeros((2, 3, 2), np.float32), labels={"who": np.array([3, -1])})
    assert described(bare, np.arange(2)) == (("clip 0", "3"), ("clip 1", "\u2013"))


@pytest.mark.parametrize("name", ["moving_shapes", "tones", "series"])
def test_made_clips_are_rendered_anew(name):
    clips = open_clips(name, "test").select(slice(0, 6))
    wanted = truth(clips, np.array([0, 1, 2]), np.array([3, 1, 4]))
    assert wanted.shape == (3, *clips.x.shape[1:])
    assert np.allclose(wanted[1], clips.x[1], atol=1e-6)  # a swap with itself
    assert np.abs(wanted[0] - clips.x[0]).max() > 0.1
    assert np.abs(wanted[0] - clips.x[3]).max() > 0.1


def sprites(clips):
    """Return clips of two characters, each of which does everything."""
    x = np.arange(clips, dtype=np.float32)[:, None, None].repeat(3, 1)
    labels = {name: np.arange(clips) // 4 for name in STATIC} | {name: np.arange(clips) % 4 for name in DYNAMIC}
    return Clips(x, labels=labels)


def test_sprites_are_looked_up():
    wanted = truth(sprites(8), np.array([0, 5]), np.array([6, 3]))
    assert wanted[:, 0, 0].tolist() == [2, 7]
    # Of a part of the split not all swaps are there.
    assert truth(sprites(6), np.array([5]), np.array([3])) is None


def test_nobody_knows_the_swaps_of_real_clips():
    clips = open_clips("japanese_vowels", "test")
    assert truth(clips, np.array([0]), np.array([1])) is None
    made = open_clips("tones", "test")
    assert truth(dataclasses.replace(made, factors={}), np.array([0]), np.array([1])) is None
