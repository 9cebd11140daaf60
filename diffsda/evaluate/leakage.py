"""Cross-leakage: how well a small classifier tells, from either factor, what the other one should hold."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from diffsda.errors import InputError
from diffsda.evaluate.classification import majority
from diffsda.evaluate.codes import Codes
from diffsda.evaluate.lengths import Array, Floats
from diffsda.evaluate.probe import linear, resample

Factor = Literal["static", "dynamic"]
View = Literal["s", "mean", "frames"]
ProbeName = Literal["linear", "mlp"]
Labels = Mapping[str, tuple[ArrayLike, ArrayLike]]
"""By name: a label of the fitting clips (N,) and of the test clips (M,), -1 = not known."""
STEPS = 16
"""Frames that the dynamic factor of a clip is brought to, where a probe sees them one beside the other."""
HIDDEN = 64
PASSES = 200
VIEWS: dict[Factor, tuple[View, ...]] = {"static": ("s",), "dynamic": ("mean", "frames")}
PROBES: tuple[ProbeName, ...] = ("linear", "mlp")


@dataclass(frozen=True, kw_only=True)
class Told:
    """How well one probe told one label from one view of a factor."""

    factor: Factor
    """What the probe was given."""
    view: View
    """``s``; of d its ``mean`` over time, or its ``frames`` resampled to ``STEPS``."""
    label: str
    role: Factor
    """What the label is one of."""
    probe: ProbeName
    accuracy: float
    """Share of test clips told right, in [0, 1]."""
    chance: float
    """The same of always saying the commonest label of the fitting clips."""
    ceiling: float
    """The best that can be expected: 1, or what was given."""
    count: int
    """Test clips that have the label."""

    @property
    def leaks(self) -> bool:
        """Whether the label is the other factor's business, so that low is good."""
        return self.factor != self.role

    @property
    def normalised(self) -> float:
        """Return (accuracy - chance) / (ceiling - chance): 0 at chance, 1 at the ceiling; NaN where these meet."""
        room = self.ceiling - self.chance
        return (self.accuracy - self.chance) / room if room > 0 else math.nan


@dataclass(frozen=True)
class Leakage:
    """All that was told: both factors, both roles of labels, both probes."""

    told: tuple[Told, ...]

    def average(self, probe: ProbeName = "mlp", view: View = "mean", *, normalised: bool = False) -> float:
        """Return (mean over dynamic labels, from s + mean over static labels, from d) / 2.

        view: how d is seen. normalised: of the normalised values instead of accuracies; NaN if one is.
        Source: DiViD section 4.2.3 (average leakage).
        Raises: InputError without a label of either role.
        """
        return self._mean(lambda one: one.normalised if normalised else one.accuracy, probe, view)

    def chance(self, probe: ProbeName = "mlp", view: View = "mean") -> float:
        """Return what ``average`` would be of codes that say nothing.

        Raises: InputError as ``average``.
        """
        return self._mean(lambda one: one.chance, probe, view)

    def _mean(self, value: Any, probe: ProbeName, view: View) -> float:
        halves = []
        for factor, seen, role in (("static", "s", "dynamic"), ("dynamic", view, "static")):
            values = [
                value(one)
                for one in self.told
                if (one.factor, one.view, one.role, one.probe) == (factor, seen, role, probe)
            ]
            if not values:
                raise InputError(
                    f"leakage: got no {role} label told from {seen} by {probe}, expected labels of both roles"
                )
            halves.append(math.fsum(values) / len(values))
        return sum(halves) / 2


def cross_leakage(
    fit: Codes,
    test: Codes,
    static: Labels,
    dynamic: Labels,
    *,
    ceilings: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Leakage:
    """Fit probes on frozen codes and tell every label from every factor.

    From s the dynamic labels, from d the static ones: leakage. From s the static labels, from d the dynamic ones:
    what the factors are for. Probes are of fixed capacity on standardised codes: a logistic regression, and a network
    of one hidden layer of 64 units, at most 200 passes of Adam. Labels -1 are left out; a test label that no fitting
    clip has counts as told wrong.

    static, dynamic: labels by name. ceilings: by label, say a judge's accuracy on real clips.
    Source: DiViD section 4.2.3. Differs: the paper says nothing of its classifiers; the static factor of a person can
    be told from how they move, and an action from one pose, so that chance is not always within reach.
    Raises: InputError if there is no label, labels are not one a clip, or the fitting clips show one class of it.
    """
    if not static and not dynamic:
        raise InputError("leakage: got no label, expected static or dynamic ones, to be told from codes")
    if both := set(static) & set(dynamic):
        raise InputError(f"leakage: got {min(both)!r} as static and as dynamic, expected one of them")
    seen: dict[View, tuple[Floats, Floats]] = {
        "s": (fit.static, test.static),
        "mean": (fit.dynamic_mean(), test.dynamic_mean()),
        "frames": (_side_by_side(fit), _side_by_side(test)),
    }
    told = []
    for role, labels in (("static", static), ("dynamic", dynamic)):
        for name, (known, truth) in labels.items():
            y, ours = _known(known, len(fit), f"leakage, {name} of the fitting clips")
            wanted, asked = _known(truth, len(test), f"leakage, {name} of the test clips")
            told += [
                Told(
                    factor=factor,
                    view=view,
                    label=name,
                    role="static" if role == "static" else "dynamic",
                    probe=probe,
                    accuracy=float(
                        np.mean(_fit(probe, seen[view][0][ours], y, seed).predict(seen[view][1][asked]) == wanted)
                    ),
                    chance=majority(y, wanted),
                    ceiling=(ceilings or {}).get(name, 1.0),
                    count=len(wanted),
                )
                for factor, views in VIEWS.items()
                for view in views
                for probe in PROBES
            ]
    return Leakage(tuple(told))


def _side_by_side(codes: Codes) -> Floats:
    return resample(codes.dynamic, codes.lengths, STEPS).reshape(len(codes), -1)


def _known(labels: ArrayLike, clips: int, name: str) -> tuple[Array, Array]:
    """Return the labels that are known, and the rows they are of."""
    given = np.asarray(labels)
    if given.shape != (clips,) or given.dtype.kind not in "iu":
        raise InputError(f"{name}: got {given.dtype} {given.shape}, expected whole numbers ({clips},), one a clip")
    rows = np.flatnonzero(given >= 0)
    if not rows.size:
        raise InputError(f"{name}: is of no clip known, expected it of some")
    return given[rows], rows


def _fit(probe: ProbeName, x: Floats, y: Array, seed: int) -> Any:
    """Fit a probe.

    Raises: InputError if there are fewer than two classes.
    """
    if probe == "linear":
        return linear(x, y)
    if len(np.unique(y)) < 2:
        raise InputError("leakage: got labels of one class, expected at least two")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = MLPClassifier((HIDDEN,), max_iter=PASSES, random_state=seed)
    with warnings.catch_warnings():
        # The number of passes is fixed on purpose: capacity must be the same for all codes.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(StandardScaler(), network).fit(x, y)
