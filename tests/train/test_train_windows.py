"""Random windows: inside the clip, in order, of the promised length, and the same again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffsda.data.registry import open_clips
from diffsda.presets import preset
from diffsda.train.data import Batch, Source
from diffsda.train.loop import Options, train
from diffsda.train.windows import cut


def counting(lengths: list[int], frames: int) -> Batch:
    """Every value is its frame's number plus a hundred times its clip's, counted from 1."""
    x = torch.arange(1.0, frames + 1)[None, :, None] + 100 * torch.arange(len(lengths))[:, None, None]
    n = torch.tensor(lengths)
    real = torch.arange(frames)[None] < n[:, None]
    return Batch(x * real[:, :, None], n, (x % 3 == 0).float() * real[:, :, None])


def test_windows_are_runs_of_the_clip():
    lengths = [7, 12, 29, 2] * 10
    batch = counting(lengths, 29)
    out = cut(batch, 0.4, seed=5)
    assert out.lengths is not None
    assert out.x.shape[1] == int(out.lengths.max())
    for i, n in enumerate(lengths):
        kept = int(out.lengths[i])
        assert max(2, np.ceil(0.4 * n)) <= kept <= n
        run = out.x[i, :kept, 0]
        assert (run.diff() == 1).all()
        assert 100 * i + 1 <= run[0]
        assert run[-1] <= 100 * i + n
        assert (out.x[i, kept:] == 0).all()
        assert (out.mask[i, :kept, 0] == (run % 3 == 0)).all()
        assert (out.mask[i, kept:] == 0).all()


def test_lengths_and_starts_vary_and_repeat():
    batch = counting([20] * 200, 20)
    first, again, other = cut(batch, 0.5, 1), cut(batch, 0.5, 1), cut(batch, 0.5, 2)
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.lengths, other.lengths)
    assert set(first.lengths.tolist()) == set(range(10, 21))
    starts = {int(x[0, 0]) % 100 for x in first.x}
    assert {1, 5, 10} <= starts


def test_a_share_of_one_keeps_the_batch():
    batch = counting([4, 9], 9)
    assert cut(batch, 1.0, 3) is batch


def test_clips_of_one_length_get_lengths():
    out = cut(Batch(torch.ones(50, 8, 3, 4, 4)), 0.3, 0)
    assert out.lengths is not None
    assert out.lengths.min() == 3
    assert out.x.sum() == out.lengths.sum() * 48


@pytest.mark.parametrize("share", [0.5])
def test_resume_draws_the_same_windows(tmp_path, share):
    recipe = preset("tiny_vector").replace(optim={"steps": 6, "batch": 4, "window": share})
    clips = open_clips("series", "train").select(slice(0, 12))
    whole = train(recipe, clips, tmp_path / "a", Options(device="cpu")).model
    train(recipe, clips, tmp_path / "b", Options(device="cpu", until=3))
    parts = train(recipe, clips, tmp_path / "b", Options(device="cpu", resume=True)).model
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), parts.state_dict().values()))
    assert len(Source(clips, None)) == 12
