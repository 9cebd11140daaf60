"""Classes are matched by number: whoever puts labels of two parts together asks whether they have the same names."""

import dataclasses

import numpy as np
import planted
import pytest
from protocol_jobs import Swapper, job, painted

from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.evaluate.disentanglement import score
from diffsda.evaluate.noise_policies import noise_policies
from diffsda.evaluate.protocols import classification, prediction
from diffsda.evaluate.protocols.leaks import leakage_rows
from diffsda.evaluate.protocols.reading import reader_of


def parts(label, crossed=True):
    """A part to fit on and one to score, a label's classes called the same, or the other way round."""
    x = np.random.default_rng(0).normal(size=(12, 6, 6)).astype(np.float32)
    held = {"labels": {label: np.arange(12) % 2}, "name": "held"}
    names = ("ab", "ba") if crossed else ("ab", "ab")
    return [Clips(x, label_names={label: one}, **held) for one in names]


def classify(fit, test):
    """Labels told by heads."""
    return classification.run(planted.job(fit, test, static=("who",), options={"runs": 1, "passes": 1}))


def predict(fit, test):
    """Outcomes told by heads."""
    return prediction.run(planted.job(fit, test, options={"runs": 1, "passes": 1}))


def leak(fit, test):
    """Labels told by probes."""
    return leakage_rows(planted.job(fit, test), ("who",), (), "no dynamic labels", {})


def compare(fit, test):
    """Start noises compared by a judge."""
    return noise_policies(planted.tiny(), fit, test, label="who", steps=2)


def measure(fit, test):
    """Everything about one label."""
    return score(planted.tiny(), fit, test, label="who")


@pytest.mark.parametrize(
    ("look", "label"),
    [(classify, "who"), (predict, "death"), (leak, "who"), (compare, "who"), (measure, "who")],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_crossed_names_are_refused_and_the_same_ones_are_not(look, label):
    with pytest.raises(InputError, match=f"label {label}: class 0 is a in held, which is fitted on, and b in held"):
        look(*parts(label))
    assert look(*parts(label, crossed=False))


def test_a_reader_is_not_trained_on_crossed_names():
    names = {"action": "abc"}
    fit, test = (dataclasses.replace(painted(), label_names=one) for one in (names, {"action": "bac"}))
    held = job(Swapper("perfect"), fit=fit, test=test)
    with pytest.raises(InputError, match="label action: class 0 is a in sprites"):
        reader_of(held, ("sex", "action"))
    assert not held.shelf.fits
    assert reader_of(held, ("sex",)).factors
