"""Which clips a step gets: every clip once an epoch, decided by seed and step alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsda.train.order import Order, seed_for


@given(clips=st.integers(1, 40), batch=st.integers(1, 50), seed=st.integers(0, 2**40))
def test_every_clip_comes_once_an_epoch_also_across_borders(clips, batch, seed):
    order = Order(clips, batch, seed)
    steps = 4 * order.steps_per_epoch
    dealt = np.concatenate([order.indices(step) for step in range(steps)])
    assert len(dealt) == steps * batch, "every batch is full"
    for epoch in range(len(dealt) // clips):
        part = dealt[epoch * clips : (epoch + 1) * clips]
        assert sorted(part) == list(range(clips))


@given(clips=st.integers(1, 30), batch=st.integers(1, 40), steps=st.lists(st.integers(0, 200), min_size=1, max_size=9))
def test_a_step_depends_on_nothing_that_was_asked_before(clips, batch, steps):
    order = Order(clips, batch, 3)
    for step in steps:
        assert np.array_equal(order.indices(step), Order(clips, batch, 3).indices(step))


def test_a_batch_that_crosses_a_border_takes_the_rest_and_the_beginning():
    order, whole = Order(10, 4, 0), Order(10, 10, 0)
    assert np.array_equal(order.indices(2), np.concatenate([whole.indices(0)[8:], whole.indices(1)[:2]]))


def test_epochs_and_seeds_are_shuffled_differently():
    order = Order(50, 50, 0)
    assert not np.array_equal(order.indices(0), order.indices(1))
    assert not np.array_equal(order.indices(0), Order(50, 50, 1).indices(0))


@pytest.mark.parametrize(("clips", "batch", "steps"), [(10, 4, 3), (8, 4, 2), (1, 4, 1), (9, 1, 9), (4, 4, 1)])
def test_steps_per_epoch(clips, batch, steps):
    assert Order(clips, batch, 0).steps_per_epoch == steps


def test_seeds_of_different_words_differ():
    words = [(), (5,), (0, 5), (5, 0), (5, 0, 0), (5, 0, 1), (5, 1, 0), (0, 5, 0), (6,)]
    seeds = {seed_for(*w) for w in words}
    assert len(seeds) == len(words)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_for(5, 0, 1) == seed_for(5, 0, 1)
