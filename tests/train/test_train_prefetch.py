"""Batches made ahead: the same ones in the same order, errors told, no thread left behind."""

import threading
import time

import numpy as np
import pytest
import torch
from training_runs import assert_same_run, clips, vector

from diffsda.errors import TrainingError
from diffsda.train import loop
from diffsda.train.data import Batch
from diffsda.train.loop import Options, train
from diffsda.train.prefetch import Prefetch

CPU = torch.device("cpu")
WHOLE = (slice(0, 2), slice(2, 4))


def make(step):
    return Batch(torch.full((4, 3, 2), float(step)), torch.tensor([3, 2, 2, 3]), torch.ones(4, 3, 2))


def threads():
    return [t for t in threading.enumerate() if t.name == "diffsda-prefetch"]


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_batches_come_in_order_part_by_part(ahead):
    with Prefetch(make, range(5, 12), WHOLE, CPU, ahead=ahead) as supply:
        assert len(threads()) == (ahead > 0)
        for step in range(5, 12):
            ready = supply.next()
            assert (ready.shape, ready.frames, ready.elements) == ((4, 3, 2), 10, 20)
            assert [part.x.shape[0] for part in ready.parts] == [2, 2]
            assert all(bool((part.x == step).all()) for part in ready.parts)
            assert ready.parts[1].lengths.tolist() == [2, 3]
    assert not threads()
    assert supply.waited > 0


def test_no_more_than_so_many_are_made_ahead():
    made = []
    with Prefetch(lambda step: made.append(step) or make(step), range(100), WHOLE, CPU, ahead=2) as supply:
        supply.next()
        deadline = time.monotonic() + 60
        while len(made) < 4 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        # One handed out, two that wait, one in the thread's hand.
        assert made == [0, 1, 2, 3]
    assert not threads(), "leaving ends it, though nobody takes what it holds"


@pytest.mark.parametrize("ahead", [0, 2])
def test_an_error_on_the_way_is_told_after_what_came_before_it(ahead):
    def breaks(step):
        if step == 2:
            raise TrainingError("clip 7 is gone")
        return make(step)

    with Prefetch(breaks, range(9), WHOLE, CPU, ahead=ahead) as supply:
        assert [float(supply.next().parts[0].x[0, 0, 0]) for _ in range(2)] == [0, 1]
        with pytest.raises(TrainingError, match="clip 7 is gone"):
            supply.next()
    assert not threads()


class Ahead(Prefetch):
    """Prepare in a thread on the CPU as well."""

    def __init__(self, *given):
        super().__init__(*given, ahead=2)


@pytest.mark.parametrize("ends", ["finished", "interrupted"])
def test_a_run_with_batches_made_ahead_is_the_same_run(tmp_path, monkeypatch, ends):
    recipe = vector(window=0.5, accumulate=2, draws=2)
    data = clips(recipe, lengths=True, mask=True)
    train(recipe, data, tmp_path / "plain", Options(log_every=1))
    monkeypatch.setattr(loop, "Prefetch", Ahead)
    first = Options(log_every=1, until=4 if ends == "interrupted" else None)
    train(recipe, data, tmp_path / "ahead", first)
    if ends == "interrupted":
        train(recipe, data, tmp_path / "ahead", Options(log_every=1, resume=True))
    assert not threads()
    assert_same_run(tmp_path / "ahead", tmp_path / "plain")


def test_a_batch_that_cannot_be_made_ends_the_run_with_its_message(tmp_path, monkeypatch):
    recipe = vector()
    monkeypatch.setattr(loop, "Prefetch", Ahead)
    monkeypatch.setattr(loop, "cut", lambda batch, share, seed: np.zeros(3)[9])
    with pytest.raises(IndexError, match="index 9 is out of bounds"):
        train(recipe, clips(recipe), tmp_path / "run", Options())
    assert not threads()
