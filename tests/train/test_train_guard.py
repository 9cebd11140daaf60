"""The guard remembers the first step that was not finite, and nothing else."""

import pytest
import torch

from diffsda.train.guard import Guard

CPU = torch.device("cpu")
GOOD = torch.tensor(1.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("which", ["loss", "norm"])
def test_the_first_bad_step_is_kept(bad, which):
    guard = Guard(CPU)
    bad = torch.tensor(bad)
    guard.note(0, GOOD, GOOD)
    assert guard.bad_step() is None
    guard.note(1, *((bad, GOOD) if which == "loss" else (GOOD, bad)))
    guard.note(2, bad, bad)
    guard.note(3, GOOD, GOOD)
    assert guard.bad_step() == 1


def test_step_0_counts():
    guard = Guard(CPU)
    guard.note(0, torch.tensor(float("nan")), GOOD)
    assert guard.bad_step() == 0


def test_large_but_finite_is_good():
    guard = Guard(CPU)
    guard.note(0, torch.tensor(torch.finfo(torch.float32).max), GOOD)
    assert guard.bad_step() is None


def test_how_often_it_is_looked_at():
    assert Guard(CPU).every == 1
    assert Guard(torch.device("meta")).every == 50, "looking makes the host wait for a device"
    assert Guard(CPU, every=50).every == 50
