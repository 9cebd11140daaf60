"""Static, dynamic and joint accuracy of swaps, with their intervals, on hand-made readings."""

import numpy as np
import pytest
from scipy.stats import binomtest

from diffsda.errors import InputError
from diffsda.evaluate.intervals import standard_error, wilson_interval
from diffsda.evaluate.swap_shares import swap_accuracy


def test_by_hand():
    # Right in both, in s, in d, in neither.
    got = swap_accuracy([0, 1, 0, 0, 2, 1], [3, 4, 3, 0, 0, 0], [0, 1, 2, 0, 0, 0], [3, 0, 3, 1, 1, 1])
    assert got.static == pytest.approx(3 / 6)
    assert got.dynamic == pytest.approx(2 / 6)
    assert got.joint == pytest.approx(1 / 6)
    static, dynamic, joint = got
    assert (static, dynamic, joint) == (got.static, got.dynamic, got.joint)


def test_perfect_and_hopeless():
    assert swap_accuracy([0, 1], [1, 0], [0, 1], [1, 0]) == (1.0, 1.0, 1.0)
    assert swap_accuracy([1, 0], [0, 1], [0, 1], [1, 0]) == (0.0, 0.0, 0.0)
    # Halves that never meet: joint 0 though either is a half.
    assert swap_accuracy([0, 0], [1, 1], [0, 1], [0, 1]) == (0.5, 0.5, 0.0)


def test_probabilities_are_read_by_their_largest():
    draw = np.random.default_rng(0)
    probs, labels = draw.dirichlet(np.ones(4), 50), draw.integers(0, 4, 50)
    other = np.zeros(50, int)
    assert swap_accuracy(probs, other, labels, other) == swap_accuracy(probs.argmax(1), other, labels, other)


def test_several_attributes_must_all_be_right():
    read = {"head": [0, 1, 2, 0], "legs": [1, 1, 0, 0]}
    wanted = {"legs": [1, 1, 1, 1], "head": [0, 1, 2, 2]}
    got = swap_accuracy(read, [5, 5, 5, 5], wanted, [5, 6, 5, 5])
    assert got == (0.5, 0.75, 0.25)
    columns = [np.stack([part[name] for name in ("head", "legs")], 1) for part in (read, wanted)]
    assert swap_accuracy(columns[0], [5, 5, 5, 5], columns[1], [5, 6, 5, 5]) == got


def test_joint_is_never_above_either():
    for seed in range(20):
        draw = np.random.default_rng(seed)
        got = swap_accuracy(*draw.integers(0, 3, (4, 17)))
        assert got.joint <= min(got.static, got.dynamic)


def test_guesses_are_right_by_chance():
    draw = np.random.default_rng(1)
    read = draw.integers(0, [8, 27], (20_000, 2)).T
    wanted = draw.integers(0, [8, 27], (20_000, 2)).T
    got = swap_accuracy(read[0], read[1], wanted[0], wanted[1])
    for share, chance in zip(got, (1 / 8, 1 / 27, 1 / 216), strict=True):
        low, high = wilson_interval(share, 20_000, 0.999)
        assert low < chance < high


def test_what_does_not_fit_is_refused():
    ok = [0, 1]
    for arguments, words in (
        (([], ok, [], ok), "P >= 1"),
        (([0], ok, ok, ok), r"got \(1,\) read"),
        ((ok, [0, 1, 2], ok, [0, 1, 2]), "expected as many"),
        (([0.0, np.nan], ok, [0.0, 1.0], ok), "NaN or below 0"),
        ((ok, ok, [0, -1], ok), "stands for none"),
        (([[0.4, 0.6], [np.nan, 1]], ok, ok, ok), "not finite"),
        (([[0.4, 0.6], [0.5, 0.5]], ok, [0, 2], ok), "expected 0 to 1"),
        (({"a": ok}, ok, {"b": ok}, ok), "the same names"),
        (({}, ok, {}, ok), "at least one"),
        (({"a": ok, "b": [1]}, ok, {"a": ok, "b": [1]}, ok), "expected as many"),
    ):
        with pytest.raises(InputError, match=words):
            swap_accuracy(*arguments)


@pytest.mark.parametrize(("hits", "count"), [(0, 5), (5, 5), (1, 3), (61, 202), (1, 1)])
def test_intervals_are_wilsons(hits, count):
    wanted = binomtest(hits, count).proportion_ci(0.95, "wilson")
    got = wilson_interval(hits / count, count)
    assert got == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert 0 <= got[0] <= hits / count <= got[1] <= 1
    assert got[0] < got[1]


def test_standard_errors_by_hand():
    assert standard_error(0.3, 202) == pytest.approx(0.032243, abs=1e-6)
    assert standard_error(1.0, 10) == 0.0
    for share, count in ((1.2, 3), (float("nan"), 3), (0.5, 0)):
        with pytest.raises(InputError):
            standard_error(share, count)
        with pytest.raises(InputError):
            wilson_interval(share, count)
    with pytest.raises(InputError, match="confidence"):
        wilson_interval(0.5, 3, 1.0)
