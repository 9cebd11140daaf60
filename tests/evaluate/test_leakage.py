"""Cross-leakage on codes made by hand: clean ones, mixed ones, and ones that say nothing."""

import math

import numpy as np
import pytest

from diffsda.errors import InputError
from diffsda.evaluate.codes import Codes
from diffsda.evaluate.leakage import Leakage, Told, cross_leakage

PEOPLE, ACTIONS, FRAMES = 4, 3, 5


def made(clips, seed, *, s_holds="person", d_holds="action", varied=False):
    """Codes that hold one label each, in one-hot columns with a little noise, and these labels."""
    draw = np.random.default_rng(seed)
    labels = {"person": draw.integers(0, PEOPLE, clips), "action": draw.integers(0, ACTIONS, clips)}
    shapes = {"person": np.eye(PEOPLE), "action": np.eye(ACTIONS)}

    def held(name):
        if name is None:
            return draw.normal(size=(clips, 4))
        return shapes[name][labels[name]] + 0.05 * draw.normal(size=(clips, shapes[name].shape[1]))

    static, one = held(s_holds), held(d_holds)
    dynamic = np.repeat(one[:, None], FRAMES, 1) + 0.05 * draw.normal(size=(clips, FRAMES, one.shape[1]))
    lengths = draw.integers(2, FRAMES + 1, clips) if varied else np.full(clips, FRAMES)
    dynamic[np.arange(FRAMES)[None] >= lengths[:, None]] = 99.0
    return Codes(static, dynamic, lengths), labels


def leakage(ceilings=None, **settings):
    fit, known = made(160, 0, **settings)
    test, truth = made(120, 1, **settings)
    labels = {name: (known[name], truth[name]) for name in known}
    return cross_leakage(fit, test, {"person": labels["person"]}, {"action": labels["action"]}, ceilings=ceilings)


def told(result, label, factor):
    return [one for one in result.told if (one.label, one.factor) == (label, factor)]


def test_clean_codes_tell_what_is_theirs_and_nothing_else():
    result = leakage(varied=True)
    assert len(result.told) == 2 * (1 + 2) * 2
    for label, factor in (("person", "static"), ("action", "dynamic")):
        assert all(one.accuracy == 1.0 and not one.leaks for one in told(result, label, factor))
    for one in told(result, "person", "dynamic") + told(result, "action", "static"):
        assert one.leaks
        assert abs(one.accuracy - one.chance) < 0.15
        assert abs(one.normalised) < 0.25
    for probe in ("linear", "mlp"):
        for view in ("mean", "frames"):
            assert abs(result.average(probe, view) - result.chance(probe, view)) < 0.12


def test_codes_that_hold_the_other_factor_leak_all_of_it():
    result = leakage(s_holds="action", d_holds="person")
    assert result.average("linear") == result.average("mlp", "frames") == 1.0
    assert result.average(normalised=True) == 1.0
    assert max(one.accuracy for one in result.told if not one.leaks) < 0.55


def test_random_codes_are_at_chance():
    result = leakage(s_holds=None, d_holds=None)
    for one in result.told:
        assert one.accuracy == pytest.approx(1 / (PEOPLE if one.label == "person" else ACTIONS), abs=0.15)


def test_one_seed_one_answer():
    assert leakage(s_holds=None) == leakage(s_holds=None)


def one_told(**changes):
    usual = {"factor": "static", "view": "s", "label": "a", "role": "dynamic", "probe": "mlp", "count": 10}
    return Told(**{**usual, "accuracy": 0.5, "chance": 0.25, "ceiling": 0.75, **changes})


def test_averages_by_hand():
    from_d = one_told(factor="dynamic", view="mean", role="static")
    result = Leakage(
        (
            one_told(accuracy=0.3),
            one_told(label="b", accuracy=0.5),
            one_told(label="c", role="static", accuracy=1.0),  # what s is for: no part of the average
            from_d,
        )
    )
    assert result.average() == pytest.approx((0.4 + 0.5) / 2)
    assert result.chance() == pytest.approx(0.25)
    assert result.average(normalised=True) == pytest.approx((0.3 + 0.5) / 2)
    with pytest.raises(InputError, match="by linear"):
        result.average("linear")
    with pytest.raises(InputError, match="no static label told from frames"):
        result.average(view="frames")
    assert math.isnan(one_told(ceiling=0.25).normalised)
    assert math.isnan(one_told(ceiling=0.1).normalised)


def test_unknown_labels_are_left_out_and_new_ones_are_wrong():
    fit, known = made(80, 0)
    test, truth = made(60, 1)
    truth["person"][:10] = -1
    truth["person"][10:20] = PEOPLE
    known["person"][:5] = -1
    result = cross_leakage(fit, test, {"person": (known["person"], truth["person"])}, {})
    assert {one.count for one in result.told} == {50}
    assert {one.accuracy for one in told(result, "person", "static")} == {0.8}
    with pytest.raises(InputError, match="no dynamic label"):
        result.average()


def test_a_ceiling_can_be_given():
    result = leakage(ceilings={"person": 0.9})
    assert {one.ceiling for one in result.told if one.label == "person"} == {0.9}
    assert {one.ceiling for one in result.told if one.label == "action"} == {1.0}


def test_labels_that_cannot_be_told_are_refused():
    fit, known = made(20, 0)
    test, truth = made(20, 1)
    pair = known["person"], truth["person"]
    for static, dynamic, words in (
        ({}, {}, "got no label"),
        ({"a": pair}, {"a": pair}, "as static and as dynamic"),
        ({"a": (pair[0][:5], pair[1])}, {}, r"fitting clips: got int64 \(5,\)"),
        ({"a": (pair[0], pair[1][:5])}, {}, r"test clips: got int64 \(5,\)"),
        ({"a": (pair[0] * 1.0, pair[1])}, {}, "float64"),
        ({"a": (pair[0] * 0 - 1, pair[1])}, {}, "of no clip known"),
        ({"a": (pair[0] * 0, pair[1])}, {}, "one class"),
    ):
        with pytest.raises(InputError, match=words):
            cross_leakage(fit, test, static, dynamic)
