"""Frames that lie on the device train a model as frames read from disk do, bit for bit."""

import numpy as np
import pytest
import torch
from training_runs import assert_same_run, clips, vector

from diffsda.data.frames import FrameWriter
from diffsda.data.prepared import Dataset
from diffsda.data.registry import open_data
from diffsda.errors import InputError
from diffsda.train import resident
from diffsda.train.loop import Options, train
from diffsda.train.order import Order
from diffsda.train.resident import Resident, fits_on
from diffsda.train.streamed import Streamed

RECIPE = vector(steps=4).replace(clips={"frames": 5, "stride": 2})


@pytest.fixture(params=["bf16", "float16", "float32"])
def folder(request, tmp_path):
    draw = np.random.default_rng(0)
    with FrameWriter(tmp_path / "set" / "train", (6,), request.param) as writer:
        for key in range(9):
            writer.append(str(key), draw.normal(3, 2, (int(draw.integers(5, 20)), 6)).astype(np.float32))
    Dataset(
        kind="frames",
        name="walks",
        modality="series",
        frames=5,
        channels=6,
        splits={"train": 9},
        statistics=((3.0,) * 6, (2.0,) * 6),
        dtype=request.param,
    ).write(tmp_path / "set")
    return tmp_path / "set"


def test_where_frames_lie_changes_nothing(folder, tmp_path):
    for name, where in (("disk", False), ("device", True)):
        train(RECIPE, open_data(folder, "train", RECIPE.clips), tmp_path / name, Options(log_every=1, resident=where))
    assert_same_run(tmp_path / "disk", tmp_path / "device")


def test_a_batch_is_the_same(folder):
    store, order = open_data(folder, "train", RECIPE.clips), Order(9, 4, seed=1)
    own = [slice(2, 3), slice(3, 4)]
    there = Resident(store, None, order, torch.device("cpu")).supply(range(9), own)
    read = Streamed(store, None, order).supply(range(9), own)
    for step in range(9):
        a, b = there(step), read(step)
        assert torch.equal(a.x, b.x)
        assert (a.first, a.whole, a.x.dtype) == (b.first, b.whole, torch.float32)
        assert a.x.shape == (2, 5, 6)


def test_left_open_it_takes_a_gpu_with_room(folder, monkeypatch):
    store = open_data(folder, "train", RECIPE.clips)
    assert not fits_on(store, torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * store.nbytes, 0))
    assert fits_on(store, torch.device("cuda"))
    monkeypatch.setattr(resident, "SHARE", 0.49)
    assert not fits_on(store, torch.device("cuda"))


def test_what_cannot_lie_on_the_device_is_told(folder, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="in memory already"):
        train(RECIPE, clips(RECIPE), tmp_path / "run", Options(resident=True))
    store = open_data(folder, "train", RECIPE.clips)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (store.nbytes - 1, 0))
    with pytest.raises(InputError, match="leave it out, and they are read from disk"):
        Resident(store, None, Order(9, 4, seed=1), torch.device("cuda"))
    assert not (tmp_path / "run").exists()
