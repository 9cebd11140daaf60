"""Clips take good arrays unchanged in value and refuse bad ones with a line that helps."""

import numpy as np
import pytest

from diffsda.data.clip import Clips, check
from diffsda.errors import InputError


def ramp(n=4, frames=5, features=3):
    return np.arange(n * frames * features, dtype=np.float32).reshape(n, frames, features)


def test_good_vectors_come_back_as_given():
    x = ramp()
    got, lengths, mask = check(x)
    assert got is x
    assert lengths is None
    assert mask is None
    assert not Clips(x).video
    assert Clips(np.zeros((2, 3, 1, 4, 4), np.float32)).video
    assert (len(Clips(x)), Clips(x).frames) == (4, 5)


@pytest.mark.parametrize("kind", [np.float16, np.float64, ">f4"])
def test_other_floats_become_float32(kind):
    got, _, _ = check(ramp().astype(kind))
    assert got.dtype == np.float32
    assert got.dtype.isnative
    assert np.array_equal(got, ramp())


def test_padding_is_zeroed_and_may_hold_nan():
    x = ramp()
    x[1, 3:] = np.nan
    given = x.copy()
    got, lengths, _ = check(x, np.array([5, 3, 5, 2], np.int32))
    assert lengths.dtype == np.int64
    assert np.all(got[1, 3:] == 0)
    assert np.all(got[3, 2:] == 0)
    assert np.array_equal(got[3, :2], ramp()[3, :2])
    assert np.array_equal(x, given, equal_nan=True), "the caller's array was changed"


def test_nan_before_the_end_is_refused():
    x = ramp()
    x[1, 2, 1] = np.nan
    with pytest.raises(InputError, match=r"x\[1, 2, 1\]: got NaN.*mask"):
        check(x, np.array([5, 3, 5, 2]))


def test_missing_values_are_zeroed_and_stay_marked():
    x, mask = ramp(), np.zeros((4, 5, 3), bool)
    x[2, 1, 0], mask[2, 1, 0] = np.nan, True
    mask[0, 4] = True
    got, _, kept = check(x, np.array([4, 5, 5, 5]), mask)
    assert got[2, 1, 0] == 0
    assert got[2, 1, 1] == ramp()[2, 1, 1]
    assert kept.dtype == np.float32
    assert kept.sum() == 1, "a padded step was counted as a missing value"
    assert kept[2, 1, 0] == 1


BAD_X = {
    "rank 2": (np.zeros((4, 5), np.float32), r"got shape \(4, 5\), expected .*x\[\.\.\., None\]"),
    "rank 4": (np.zeros((4, 5, 8, 8), np.float32), r"got shape \(4, 5, 8, 8\).*x\[:, :, None\]"),
    "rank 6": (np.zeros((1, 2, 1, 1, 1, 1), np.float32), "got shape"),
    "integers": (np.zeros((4, 5, 3), np.uint8), "got uint8 values, expected floats.*astype"),
    "complex": (np.zeros((4, 5, 3), complex), "got complex128"),
    "objects": (np.full((4, 5, 3), None), "got object"),
    "ragged": ([[[1.0], [2.0]], [[1.0]]], "no array"),
    "no clips": (np.zeros((0, 5, 3), np.float32), "got no clips"),
    "one frame": (np.zeros((4, 1, 3), np.float32), "got 1 frame a clip.*at least 2"),
    "no features": (np.zeros((4, 5, 0), np.float32), "axis of size 0"),
    "inf": (np.array([[[0.0], [np.inf]]]), r"x\[0, 1, 0\]: got inf, expected a finite"),
    "too large": (np.array([[[0.0], [1e39]]]), r"x\[0, 1, 0\]: got 1e\+39, too large for float32"),
}


@pytest.mark.parametrize("case", BAD_X)
def test_bad_x_is_refused(case):
    x, words = BAD_X[case]
    with pytest.raises(InputError, match=words) as caught:
        check(x)
    assert "\n" not in str(caught.value)


def test_first_bad_index_is_named_in_video():
    x = np.zeros((2, 3, 1, 4, 4), np.float32)
    x[1, 2, 0, 3, 1] = x[1, 2, 0, 3, 3] = np.nan
    with pytest.raises(InputError, match=r"x\[1, 2, 0, 3, 1\]: got NaN"):
        check(x)


BAD_LENGTHS = {
    "shape": (np.array([5, 5]), r"got shape \(2,\), expected \(4,\)"),
    "floats": (np.array([5.0, 5, 5, 5]), "got float64 values, expected integers"),
    "booleans": (np.ones(4, bool), "got bool"),
    "too long": (np.array([5, 5, 6, 5]), r"lengths\[2\]: got 6, expected 2 to 5"),
    "too short": (np.array([5, 1, 5, 5]), r"lengths\[1\]: got 1"),
}


@pytest.mark.parametrize("case", BAD_LENGTHS)
def test_bad_lengths_are_refused(case):
    lengths, words = BAD_LENGTHS[case]
    with pytest.raises(InputError, match=words):
        check(ramp(), lengths)
    assert check(ramp(), np.array([5, 2, 5, 5]))[1].tolist() == [5, 2, 5, 5]


BAD_MASKS = {
    "shape": (np.zeros((4, 5)), r"got shape \(4, 5\), expected x's \(4, 5, 3\)"),
    "half": (np.full((4, 5, 3), 0.5), r"mask\[0, 0, 0\]: got 0.5"),
    "nan": (np.full((4, 5, 3), np.nan), "got nan"),
    "words": (np.full((4, 5, 3), "1"), "got <U1 values"),
}


@pytest.mark.parametrize("case", BAD_MASKS)
def test_bad_masks_are_refused(case):
    mask, words = BAD_MASKS[case]
    with pytest.raises(InputError, match=words):
        check(ramp(), None, mask)


def labelled():
    x = ramp(10)
    kind, step = np.arange(10) % 2, np.tile(np.arange(5), (10, 1))
    names = {"kind": ("even", "odd")}
    return Clips(x, np.full(10, 4), labels={"kind": kind, "step": step}, label_names=names)


def test_select_takes_every_array_along():
    some = labelled().select([7, 2])
    assert np.array_equal(some.x[:, :4], ramp(10)[[7, 2], :4])
    assert some.labels["kind"].tolist() == [1, 0]
    assert some.labels["step"].tolist() == [[0, 1, 2, 3, -1]] * 2, "no label past the end"
    assert some.lengths.tolist() == [4, 4]
    assert some.label_names == {"kind": ("even", "odd")}
    assert len(labelled().select(3)) == 1
    assert len(labelled().select(slice(2, 8, 2))) == 3
    assert labelled().select(labelled().labels["kind"] == 1).x[0, 0, 0] == 15


@pytest.mark.parametrize("rows", [[10], [-11], [0.5], [True] * 3, [], [[0], [1]], "all"])
def test_select_refuses_rows_that_are_not_there(rows):
    with pytest.raises(InputError, match="rows"):
        labelled().select(rows)


@pytest.mark.parametrize(
    ("labels", "names", "words"),
    [
        ({"kind": np.zeros(3, int)}, {}, "'kind'.*shape"),
        ({"kind": np.zeros(4)}, {}, "got float64"),
        ({"kind": np.full(4, 2)}, {"kind": ("a", "b")}, "got value 2, expected at most 1"),
        ({"kind": np.zeros(4, int)}, {"sort": ("a",)}, "names for 'sort'"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, names, words):
    with pytest.raises(InputError, match=words):
        Clips(ramp(), labels=labels, label_names=names)


def test_split_keeps_every_value_on_both_sides():
    kind = np.repeat([0, 1, 2], [40, 10, 2])
    clips = Clips(ramp(52), labels={"kind": kind})
    fit, held = clips.split(0.2, seed=3, by="kind")
    assert np.bincount(held.labels["kind"]).tolist() == [8, 2, 1]
    assert np.bincount(fit.labels["kind"]).tolist() == [32, 8, 1]
    first = np.concatenate([fit.x[:, 0, 0], held.x[:, 0, 0]])
    assert sorted(first) == ramp(52)[:, 0, 0].tolist(), "a clip is lost or on both sides"
    again = clips.split(0.2, seed=3, by="kind")[1]
    other = clips.split(0.2, seed=4, by="kind")[1]
    assert np.array_equal(again.x, held.x)
    assert not np.array_equal(other.x, held.x)


def test_split_refuses_what_it_cannot_do():
    with pytest.raises(InputError, match="did you mean 'kind'"):
        labelled().split(0.5, 0, by="knid")
    with pytest.raises(InputError, match="a label a clip: kind"):
        labelled().split(0.5, 0, by="step")
    for share in (0, 1, 1.5, float("nan")):
        with pytest.raises(InputError, match="share"):
            labelled().split(share, 0)
    with pytest.raises(InputError, match="1 clips"):
        labelled().select([0]).split(0.5, 0)
