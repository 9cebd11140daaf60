"""The swap score of many labels and their consistency over frames, on hand-made cases."""

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.multifactor import (
    consistency_over_time,
    consistency_with_clip,
    consistency_with_label,
    multifactor_swap_score,
)

CLASSES = {"hair": 5, "skin": 4, "action": 2}
KEPT = {"static": ("hair", "skin"), "dynamic": ("action",)}


def score(static, dynamic, kept=KEPT):
    accuracy = {
        "static": dict(zip(CLASSES, static, strict=True)),
        "dynamic": dict(zip(CLASSES, dynamic, strict=True)),
    }
    return multifactor_swap_score(accuracy, kept, CLASSES)


def test_perfect_swaps_score_one():
    assert score((1, 1, 1 / 2), (1 / 5, 1 / 4, 1)) == 1.0


def test_by_hand():
    # Kept: hair 0.8, skin 1, action 0.7: mean gap (0.2 + 0 + 0.3) / 3.
    # Replaced: action 0.9 - 1/2, hair 0.2 - 1/5, skin 0.05 - 1/4: mean gap (0.4 + 0 + 0.2) / 3.
    assert score((0.8, 1, 0.9), (0.2, 0.05, 0.7)) == pytest.approx(1 - (0.5 / 3 + 0.6 / 3) / 2)


def test_copies_and_guesses_score_in_between():
    # A copy of x keeps all: what is kept is right, what is replaced stays.
    assert score((1, 1, 1), (1, 1, 1)) == pytest.approx(1 - (0 + (0.5 + 0.8 + 0.75) / 3) / 2)
    # A guess throughout: nothing is kept, what is replaced is at chance.
    assert score((0.2, 0.25, 0.5), (0.2, 0.25, 0.5)) == pytest.approx(1 - ((0.8 + 0.75 + 0.5) / 3 + 0) / 2)


def test_a_part_a_label_is_the_same_score():
    classes = {"a": 2, "b": 4}
    accuracy = {"a": {"a": 1.0, "b": 0.25}, "b": {"a": 0.5, "b": 1.0}}
    assert multifactor_swap_score(accuracy, {"a": ["a"], "b": ["b"]}, classes) == 1.0
    accuracy["b"]["a"] = 1.0
    assert multifactor_swap_score(accuracy, {"a": ["a"], "b": ["b"]}, classes) == pytest.approx(1 - 0.25 / 2)


def test_what_the_score_does_not_take():
    for arguments, words in (
        (({}, {}, CLASSES), "the same parts"),
        (({"s": {"a": 1.0}}, {"d": ["a"]}, {"a": 2}), "the same parts"),
        (({"s": {"a": 1.0}}, {"s": ["a"]}, {"a": 2}), "0 that are replaced"),
        (({"s": {"a": 1.0}}, {"s": []}, {"a": 2}), "0 labels that are kept"),
        (({"s": {"a": 1.0}}, {"s": ["a"]}, {"a": 2, "b": 2}), "expected all of a, b"),
        (({"s": {"a": 1.0}}, {"s": ["b"]}, {"a": 2}), "expected all of a"),
        (({"s": {"a": float("nan"), "b": 1}}, {"s": ["a"]}, {"a": 2, "b": 2}), "from 0 to 1"),
        (({"s": {"a": 1.1, "b": 1}}, {"s": ["a"]}, {"a": 2, "b": 2}), "from 0 to 1"),
        (({"s": {"a": 1.0, "b": 1}}, {"s": ["a"]}, {"a": 2, "b": 1}), "at least two"),
    ):
        with pytest.raises(InputError, match=words):
            multifactor_swap_score(*arguments)


def shown(classes, lengths=None, count=3):
    """Probabilities of frames read as these classes; padding holds NaN."""
    probs = np.eye(count)[np.array(classes)]
    if lengths is not None:
        probs[np.arange(probs.shape[1])[None] >= np.array(lengths)[:, None]] = np.nan
    return probs


def test_consistency_by_hand():
    probs = shown([[0, 0, 1, 0], [2, 1, 1, 2]], [4, 3])
    lengths = [4, 3]
    assert consistency_with_label(probs, [0, 2], lengths) == pytest.approx(4 / 7)
    assert consistency_with_clip(probs, lengths) == pytest.approx((3 + 2) / 7)
    assert consistency_over_time(probs, lengths) == pytest.approx((1 + 1) / 5)


def test_steady_clips_are_consistent_whatever_they_show():
    probs = shown([[1] * 5, [2] * 5])
    assert consistency_with_clip(probs) == consistency_over_time(probs) == 1.0
    assert consistency_with_label(probs, [0, 0]) == 0.0
    assert consistency_with_label(probs, [1, 0]) == 0.5
    flicker = shown([[0, 1] * 3])
    assert consistency_over_time(flicker) == 0.0
    assert consistency_with_clip(flicker) == 0.5


def test_guesses_are_consistent_by_chance():
    draw = np.random.default_rng(0)
    probs = shown(draw.integers(0, 3, (400, 20)))
    assert consistency_with_label(probs, draw.integers(0, 3, 400)) == pytest.approx(1 / 3, abs=0.02)
    assert consistency_over_time(probs) == pytest.approx(1 / 3, abs=0.02)


def test_what_consistency_does_not_take():
    probs = shown([[0, 1], [1, 1]])
    for call, words in (
        (lambda: consistency_with_clip(probs[:0]), "0 clips"),
        (lambda: consistency_with_clip(probs[0]), r"\(N, V, K\)"),
        (lambda: consistency_with_clip(probs[..., :1]), "two classes"),
        (lambda: consistency_with_clip(probs, [2, 3]), "expected 1 to 2"),
        (lambda: consistency_with_clip(shown([[0, 1], [1, 1]], [2, 1])), "1 of 4 frames are not finite"),
        (lambda: consistency_with_label(probs, [0]), r"whole numbers \(2,\)"),
        (lambda: consistency_with_label(probs, [0, -1]), "without a label"),
        (lambda: consistency_over_time(probs, [1, 1]), "no neighbours"),
    ):
        with pytest.raises(InputError, match=words):
            call()
