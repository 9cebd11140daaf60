"""Encoding whole sets, from memory and from disk, and cutting clips to one length."""

import numpy as np
import pytest
import torch

from diffsda import DiffSDA, preset
from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.firststage.clips import whitened
from diffsda.firststage.whiten import Whitening
from diffsda.tasks.encode import encode
from diffsda.tasks.pool import cut, gather

LENGTHS = np.array([6, 2, 4, 6, 3])


@pytest.fixture
def model(randomise):
    return randomise(DiffSDA(preset("tiny_vector"), Whitening((3.0,) * 6, (2.0,) * 6)))


def clips(lengths=None):
    x = np.random.default_rng(0).normal(3, 2, size=(5, 6, 6)).astype(np.float32)
    labels = {"kind": np.arange(5), "phone": np.arange(30).reshape(5, 6)}
    return Clips(x, lengths=lengths, labels=labels, factors={"dynamic": np.zeros((5, 6, 1))})


class OnDisk:
    """A stream over clips, which notes what it is asked for."""

    name, source, statistics = "on disk", "", None

    def __init__(self, x):
        self.x, self.shape, self.asked = x, x.shape[1:], []

    def __len__(self):
        return len(self.x)

    def labels(self):
        return {}

    def describe(self):
        return "memory"

    def batches(self, takes):
        for batch in takes:
            self.asked.append([(take.item, take.seed) for take in batch])
            yield self.x[[take.item for take in batch]]


def same(f, g):
    torch.testing.assert_close(f.static, g.static, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(f.dynamic, g.dynamic, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_clips_in_memory(model, lengths):
    held = clips(lengths)
    wanted = encode(model, whitened(held, model.whitening))
    same(gather(model, held, batch=2), wanted)
    same(gather(model, whitened(held, model.whitening), as_is=True), wanted)
    assert gather(model, held).static.device.type == "cpu"
    assert not gather(model, held).static.requires_grad


def test_clips_on_disk_are_read_once_each_at_their_fixed_view(model):
    disk = OnDisk(clips().x)
    same(gather(model, disk, batch=2), gather(model, clips()))
    assert disk.asked == [[(0, None), (1, None)], [(2, None), (3, None)], [(4, None)]]
    same(gather(model, OnDisk(whitened(clips(), model.whitening).x), as_is=True), gather(model, clips()))


def test_the_batches_are_watched(model):
    seen = []

    def watch(parts, total):
        for part in parts:
            seen.append(total)
            yield part

    gather(model, clips(), batch=2, watch=watch)
    assert seen == [3, 3, 3]


def test_nothing_to_encode(model):
    with pytest.raises(InputError, match="got none"):
        gather(model, OnDisk(np.zeros((0, 6, 6), np.float32)))


def test_clips_are_cut_to_one_length():
    whole, short = cut(clips(LENGTHS), 3)
    assert short == 1
    assert whole.lengths is None
    np.testing.assert_array_equal(whole.x, clips().x[[0, 2, 3, 4], :3])
    np.testing.assert_array_equal(whole.labels["kind"], [0, 2, 3, 4])
    np.testing.assert_array_equal(whole.labels["phone"], clips().labels["phone"][[0, 2, 3, 4], :3])
    assert whole.factors["dynamic"].shape == (4, 3, 1)
    masked = Clips(clips().x, mask=np.zeros((5, 6, 6), np.float32))
    assert cut(masked, 4)[0].mask.shape == (5, 4, 6)


def test_clips_of_one_length_need_no_word():
    assert cut(clips(), None)[0].x.shape == (5, 6, 6)
    assert cut(clips(np.full(5, 4)), None)[0].x.shape == (5, 4, 6)
    assert cut(clips(LENGTHS), 6)[0].x.shape == (2, 6, 6)


@pytest.mark.parametrize(
    ("frames", "words"),
    [(None, r"lengths from 2 to 6 frames.*--frames 2 keeps all"), (7, "longest clip .* has 6"), (1, "at least 2")],
)
def test_lengths_that_do_not_fit(frames, words):
    with pytest.raises(InputError, match=words):
        cut(clips(LENGTHS), frames)
