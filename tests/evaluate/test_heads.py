"""Heads learn a planted rule, are at chance where there is none, and choose as they say."""

import numpy as np
import pytest
import torch

from diffsda.errors import InputError, TrainingError
from diffsda.evaluate.classification import area_under_roc
from diffsda.evaluate.codes import Codes
from diffsda.evaluate.heads import fitting, mortality, oil
from diffsda.evaluate.heads.static_class import static_classes


def codes(count, frames=12, static=4, dynamic=2, seed=0, lengths=None):
    """Codes drawn at random, 0 past a clip's end."""
    draw = np.random.default_rng(seed)
    d = draw.normal(size=(count, frames, dynamic))
    lengths = np.full(count, frames) if lengths is None else lengths
    d[np.arange(frames)[None] >= lengths[:, None]] = 0
    return Codes(draw.normal(size=(count, static)), d, lengths)


def early(some):
    """Whether the first frame of d is above 0, which an LSTM has to remember."""
    return (some.dynamic[:, 0, 0] > 0).astype(int)


@pytest.fixture(scope="module")
def patients():
    lengths = np.random.default_rng(2).integers(8, 13, 300)
    return codes(300, seed=0, lengths=lengths), codes(200, seed=1)


def test_mortality_is_learned_from_s(patients):
    known, asked = patients
    scores = mortality.mortality_scores(known, (known.static[:, 1] > 0).astype(int), asked, passes=10)
    assert scores.shape == (200,)
    assert 0 <= scores.min() < scores.max() <= 1
    assert area_under_roc(asked.static[:, 1] > 0, scores) > 0.95


def test_mortality_is_learned_from_d(patients):
    known, asked = patients
    assert area_under_roc(early(asked), mortality.mortality_scores(known, early(known), asked, passes=25)) > 0.8


def test_mortality_without_a_rule_is_chance(patients):
    known, asked = patients
    shuffled = np.random.default_rng(3).permutation(early(known))
    # 200 clips: the standard error of the area is 0.04.
    assert abs(area_under_roc(early(asked), mortality.mortality_scores(known, shuffled, asked, passes=8)) - 0.5) < 0.15


def test_which_state_is_read():
    held = codes(3, lengths=np.array([12, 9, 2]))
    assert mortality._frames(held, False).tolist() == [11, 8, 1]
    assert mortality._frames(held, True).tolist() == [2, 1, 0]


def test_padding_does_not_matter(patients):
    known, asked = patients
    long = Codes(known.static, np.pad(known.dynamic, ((0, 0), (0, 5), (0, 0)), constant_values=9.0), known.lengths)
    one, other = (mortality.mortality_scores(held, early(known), asked, passes=2) for held in (known, long))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_only_the_published_way_stops_at_a_quarter(patients):
    known, asked = patients
    late = Codes(asked.static, asked.dynamic.copy(), asked.lengths)
    late.dynamic[:, 3:] += 1
    for as_published in (True, False):
        one, other = (
            mortality.mortality_scores(known, early(known), held, as_published=as_published, passes=1)
            for held in (asked, late)
        )
        assert (one == other).all() == as_published


def test_heads_leave_the_random_state_alone_and_follow_their_seed(patients):
    known, asked = patients
    before = torch.get_rng_state()
    one, again, other = (mortality.mortality_scores(known, early(known), asked, seed=s, passes=1) for s in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def grouped(count, seed):
    """Codes whose s lies around one of four places, and which."""
    held, which = codes(count, static=4, seed=seed), np.random.default_rng(seed + 9).integers(0, 4, count)
    return Codes(held.static + 4 * np.eye(4)[which], held.dynamic, held.lengths), np.array([3, 7, 20, 21])[which]


def test_classes_are_learned_from_s():
    (known, truth), (asked, wanted) = grouped(300, 0), grouped(200, 1)
    # A head has as many hidden units as classes, and some of them may be born dead: the mean of several counts.
    told = list(static_classes(known, truth, asked, runs=3, passes=60, lr=1e-2))
    assert set(told[0]) <= {3, 7, 20, 21}
    assert np.mean([(one == wanted).mean() for one in told]) > 0.85


def test_classes_without_a_rule_are_chance():
    (known, truth), (asked, wanted) = grouped(300, 0), grouped(200, 1)
    (told,) = static_classes(known, np.random.default_rng(4).permutation(truth), asked, passes=30, lr=1e-2)
    # A quarter by chance, of 200 clips: standard error 0.03.
    assert abs((told == wanted).mean() - 0.25) < 0.12


def test_runs_start_anew_unless_as_published():
    known, asked = codes(60, seed=0), codes(200, seed=1)
    truth = known.static[:, :3].argmax(1)
    # No step is taken within 0 passes: what is left is how heads start.
    first, second = static_classes(known, truth, asked, runs=2, passes=0)
    assert (first != second).any()
    first, second = static_classes(known, truth, asked, runs=2, passes=0, as_published=True)
    assert (first == second).all()


def test_the_best_weights_are_kept():
    layer = torch.nn.Linear(1, 1, bias=False)
    looked = iter([0.1, 0.7, 0.7, 0.2])
    seen = []

    def worth(head):
        seen.append(head.weight.item())
        return next(looked)

    with fitting.seeded(0):
        fitting.fit(layer, lambda h, rows, n: (h.weight - 1).square().sum(), 4, passes=4, batch=4, lr=0.1, worth=worth)
    assert layer.weight.item() == seen[1]
    assert not layer.training


def test_a_loss_that_is_not_finite_stops():
    layer = torch.nn.Linear(1, 1)
    with pytest.raises(TrainingError, match="nan"), fitting.seeded(0):
        fitting.fit(layer, lambda h, rows, n: h.weight.sum() * torch.nan, 4, passes=1, batch=4, lr=0.1)


def test_a_share_of_every_label_is_held_out():
    labels = np.array([0] * 10 + [1] * 5 + [2])
    fit, held = fitting.hold_out(labels, 0.2, seed=3)
    assert sorted([*fit, *held]) == list(range(16))
    assert np.bincount(labels[held], minlength=3).tolist() == [2, 1, 0]
    assert (fitting.hold_out(labels, 0.2, seed=3)[1] == held).all()
    with pytest.raises(InputError, match="no two"):
        fitting.hold_out(np.arange(4), 0.2, 0)


def test_windows_by_hand():
    values = np.array([[1.0, 3.0, np.nan, 5.0, 7.0], [np.nan, np.nan, 2.0, 4.0, 100.0]])
    made = oil.windows(values, np.array([5, 4]), 2)
    np.testing.assert_array_equal(made.mean, [[2, 5, 7], [np.nan, 3, np.nan]])
    np.testing.assert_array_equal(made.weight, [[1, 1, 0, 1, 1], [0, 0, 1, 1, 0]])
    with pytest.raises(InputError, match="windows"):
        oil.windows(values, size=0)


def test_672_hours_are_68_windows_of_ten():
    made = oil.windows(np.arange(672.0)[None])
    assert made.mean.shape == (1, 68)
    assert made.mean[0, -1] == 670.5
    assert oil.windows(np.arange(672.0)[None], size=24).mean.shape == (1, 28)


def temperatures(held, rise=0.0):
    """What an hour's first dynamic and first static factor say."""
    return 2 + 4 * held.dynamic[:, :, 0] + 3 * held.static[:, None, 0] + rise


@pytest.fixture(scope="module")
def months():
    return codes(60, frames=40, seed=0), codes(20, frames=40, seed=1)


def test_temperatures_are_learned(months):
    known, asked = months
    truth, wanted = (oil.windows(temperatures(held)) for held in months)
    told = oil.oil_temperatures(known, truth, asked, wanted, passes=80)
    constant = np.abs(wanted.mean - np.median(truth.mean)).mean()
    assert np.abs(told - wanted.mean).mean() < 0.4 * constant


def test_values_below_zero_are_told(months):
    known, asked = months
    truth, wanted = (oil.windows(temperatures(held, -4.0)) for held in months)
    told = oil.oil_temperatures(known, truth, asked, wanted, passes=80)
    constant = np.abs(wanted.mean - np.median(truth.mean)).mean()
    assert np.abs(told - wanted.mean).mean() < 0.4 * constant


def test_as_published_labels_are_shuffled(months):
    known, asked = months
    truth, wanted = (oil.windows(temperatures(held)) for held in months)
    told = oil.oil_temperatures(known, truth, asked, wanted, passes=80, as_published=True)
    constant = np.abs(wanted.mean - np.median(truth.mean)).mean()
    # What is learned does no better than a constant, though the rule is there.
    assert np.abs(told - wanted.mean).mean() > 0.9 * constant


def test_hours_that_are_not_known_do_not_matter(months):
    known, asked = months
    values = temperatures(known)
    values[:, ::3] = np.nan
    truth, wanted = oil.windows(values), oil.windows(temperatures(asked))
    other = Codes(known.static, known.dynamic, known.lengths)
    assert np.isfinite(oil.oil_temperatures(other, truth, asked, wanted, passes=2)).all()
    with pytest.raises(InputError, match="no window"):
        oil.oil_temperatures(known, oil.windows(np.full((60, 40), np.nan)), asked, wanted)
