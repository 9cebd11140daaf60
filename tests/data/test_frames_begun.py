"""A folder under way is gone on with by the command that began it and by no other; statistics do not drift."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsda.data.frames import FrameWriter
from diffsda.data.frames_begun import BEGUN, begin, clear, end
from diffsda.data.frames_moments import Moments
from diffsda.data.prepared import NAME
from diffsda.errors import InputError


def fill(folder):
    with FrameWriter(folder / "train", (2,), "float32") as writer:
        writer.append("a", np.zeros((3, 2), np.float32))


def test_the_same_command_goes_on_and_another_is_refused(tmp_path):
    out = tmp_path / "out"
    assert begin(out, {"size": 1}, overwrite=False) is False
    fill(out)
    assert begin(out, {"size": 1}, overwrite=False) is True
    with pytest.raises(InputError, match="begun with other options or other files"):
        begin(out, {"size": 2}, overwrite=False)
    assert (out / "train" / "frames.npy").exists()
    assert begin(out, {"size": 1}, overwrite=True) is True, "nothing of it is lost"
    assert begin(out, {"size": 2}, overwrite=True) is False
    assert not (out / "train").exists()


def test_a_finished_folder_is_only_replaced_on_request(tmp_path):
    begin(tmp_path, {}, overwrite=False)
    fill(tmp_path)
    (tmp_path / NAME).write_text("{}")
    end(tmp_path)
    assert not (tmp_path / BEGUN).exists()
    with pytest.raises(InputError, match="holds a prepared set already"):
        begin(tmp_path, {}, overwrite=False)
    assert (tmp_path / "train" / "frames.npy").exists()
    assert begin(tmp_path, {}, overwrite=True) is False
    assert not (tmp_path / NAME).exists()
    assert not (tmp_path / "train").exists()


def test_a_damaged_mark_is_not_taken_for_the_same(tmp_path):
    (tmp_path / BEGUN).write_text("[")
    with pytest.raises(InputError, match="begun with other options"):
        begin(tmp_path, {}, overwrite=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made a folder"):
        begin(tmp_path / "file" / "out", {}, overwrite=False)


def test_only_frames_are_cleared(tmp_path):
    fill(tmp_path)
    (tmp_path / "train" / "mine.txt").write_text("")
    clear(tmp_path)
    assert [path.name for path in (tmp_path / "train").iterdir()] == ["mine.txt"]


@given(cuts=st.lists(st.integers(1, 59), max_size=6), shift=st.sampled_from([0.0, 1e3, -1e5]))
def test_parts_count_as_one(cuts, shift):
    x = (np.random.default_rng(0).normal(size=(60, 3, 2, 2)) * [[[1]], [[2]], [[0.5]]] + shift).astype(np.float32)
    moments = Moments(3)
    for part in np.split(x, sorted(cuts)):
        if len(part):
            moments.add(part)
    wide = x.astype(np.float64)
    mean, std = moments.statistics()
    assert np.allclose(mean, wide.mean((0, 2, 3)), rtol=1e-12)
    assert np.allclose(std, wide.std((0, 2, 3)), rtol=1e-9)


def test_what_is_not_there_does_not_count():
    x = np.random.default_rng(0).normal(size=(50, 2))
    keep = np.random.default_rng(1).random((50, 2)) < 0.7
    keep[:, 1] &= np.arange(50) < 3
    moments = Moments(2)
    moments.add(np.where(keep, x, np.nan)[:20], keep[:20])
    moments.add(np.where(keep, x, np.nan)[20:], keep[20:])
    for channel in range(2):
        assert moments.mean[channel] == pytest.approx(x[keep[:, channel], channel].mean())
        assert moments.std[channel] == pytest.approx(x[keep[:, channel], channel].std())


def test_a_channel_that_never_varies_is_told_and_divided_by_one():
    x = np.stack([np.full(100, 0.3), np.full(100, 0.0), np.random.default_rng(0).normal(size=100)], 1)
    x[:, 0] += 1e-9 * x[:, 2]
    moments = Moments(3)
    moments.add(x)
    assert moments.degenerate().tolist() == [True, True, False]
    assert moments.statistics()[1][:2] == (1.0, 1.0)
    assert Moments(2).statistics() == ((0.0, 0.0), (1.0, 1.0)), "of nothing"
