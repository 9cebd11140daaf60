"""dci: does each dimension of s and d stand for one label, and is each label in one place?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from diffsda.errors import InputError
from diffsda.evaluate.classification import majority
from diffsda.evaluate.clip_labels import labelled, table, usable
from diffsda.evaluate.codes import codes_of
from diffsda.evaluate.draws import base
from diffsda.evaluate.informativeness import DCI, TREES, dci, gathered, narrowed, parted
from diffsda.evaluate.job import Job
from diffsda.evaluate.lengths import Floats, Ints
from diffsda.evaluate.probe import mean_over_time
from diffsda.evaluate.result import NAN, Better, Row

COUNT = 1000
"""Clips used where nobody says how many: boosted trees are slow."""
WIDTH = 32
"""Dimensions that s, the mean of d, or the features are brought to where they are more."""
ABOUT = {
    "modularity": "a dimension serves one label",
    "compactness": "a label sits in one dimension",
    "explicitness": "labels told from all dimensions, mean over labels",
    "explicitness_fit": "the same of the clips the trees were fitted on",
}


def run(job: Job) -> list[Row]:
    """Tell all labels of whole clips from s and the mean of d together, and see which dimensions that takes.

    The test part is split 80 to 20; a factor of more than ``width`` dimensions is brought to that many principal
    components, found in the fitting part. ``importance_static_in_s`` is the share of what static labels lean on that
    lies in s, ``importance_dynamic_in_d`` the same of dynamic labels and d. Baselines: the codes of other clips, which
    say nothing; the mean of the features over time; always the commonest class.
    options: count (of clips, 1000), width (32), trees (100).
    Source: the MSD benchmark (DCI of [s | mean of d]); Eastwood and Williams 2018. Differs: see there.
    Raises: InputError if fewer than two labels of whole clips have two classes, or the clips lack one that is named.
    """
    names, reason = _labels(job)
    labels = table(job.test, names)
    rows = np.flatnonzero(labelled(labels, len(job.test)))
    rows = np.random.default_rng(job.seed).permutation(rows)[: int(job.options.get("count", COUNT))]
    held = {name: label[rows] for name, label in labels.items()}
    s, d = _codes(job, rows)
    codes = np.concatenate([s, d], 1)
    of_d = np.repeat([0, 1], [s.shape[1], d.shape[1]])
    parts = "s and the mean of d"
    others = np.roll(np.random.default_rng(base(job.seed, "other clips")).permutation(len(rows)), 1)
    out = _rows(job, codes, held, parts, of_d=of_d)
    out += _rows(job, codes[others], held, "the codes of other clips", baseline=True)
    out += _rows(job, _features(job, rows), held, "the features' mean over time", baseline=True)
    out += _commonest(job, held)
    dropped = [name for name in (*job.static, *job.dynamic) if name not in names]
    return [*out, *(_row(f"explicitness_{name}", NAN, f"{name}, told from {parts}", reason) for name in dropped)]


def _labels(job: Job) -> tuple[tuple[str, ...], str]:
    """Return the labels that can be told, and why the others cannot."""
    kept, reason = usable([job.test], (*job.static, *job.dynamic))
    reasons = [reason] if reason else []
    known = labelled(table(job.test, kept), len(job.test))
    classes = {name: len(np.unique(label[known])) for name, label in table(job.test, kept).items()}
    for name, count in classes.items():
        if count < 2:
            reasons.append(f"label {name}: has {count} classes in the test part, two are needed")
    names = tuple(name for name in kept if classes[name] > 1)
    if len(names) < 2:
        raise InputError(
            f"labels: got {', '.join(names) or 'none'} ({'; '.join(reasons) or 'no others were named'}), expected "
            "two of whole clips at least, between which dimensions can be shared"
        )
    return names, "; ".join(reasons)


def _codes(job: Job, rows: Ints) -> tuple[Floats, Floats]:
    """Return s (n, S') and the mean of d (n, D') of clips, narrowed."""
    width = int(job.options.get("width", WIDTH))
    test = codes_of(job.model, job.test.select(rows), job.batch)
    s, d = test.static, test.dynamic_mean()
    if max(s.shape[1], d.shape[1]) <= width:
        return s, d
    fit = codes_of(job.model, job.fit, job.batch)
    return narrowed(fit.static, s, width), narrowed(fit.dynamic_mean(), d, width)


def _features(job: Job, rows: Ints) -> Floats:
    clips = job.test.select(rows)
    fit, test = (mean_over_time(part.x, part.lengths).reshape(len(part), -1) for part in (job.fit, clips))
    return narrowed(fit, test, int(job.options.get("width", WIDTH)))


def _tell(job: Job, codes: Floats, labels: Mapping[str, Ints]) -> tuple[DCI | None, str]:
    try:
        return dci(codes, labels, trees=int(job.options.get("trees", TREES)), seed=job.seed), ""
    except InputError as error:
        return None, str(error)


def _rows(
    job: Job,
    codes: Floats,
    labels: Mapping[str, Ints],
    words: str,
    *,
    of_d: Ints | None = None,
    baseline: bool = False,
) -> list[Row]:
    """Return the rows of one kind of codes; of_d: for each dimension 0 if it is of s and 1 if of d."""
    found, why = _tell(job, codes, labels)
    count = None if found is None else found.count
    out = [
        _row(
            metric,
            NAN if found is None else getattr(found, metric),
            f"{about}; {words}",
            why,
            count=count,
            better="neither" if metric == "explicitness_fit" else "higher",
            baseline=baseline,
        )
        for metric, about in ABOUT.items()
    ]
    for name in labels:
        value = NAN if found is None else found.told[name]
        out.append(
            _row(f"explicitness_{name}", value, f"{name}, told from {words}", why, count=count, baseline=baseline)
        )
    if of_d is not None:
        for group, (role, factor, held) in enumerate((("static", "s", job.static), ("dynamic", "d", job.dynamic))):
            value, none = _share(found, of_d, group, held)
            about = f"share of what {role} labels are told by that lies in {factor}"
            out.append(_row(f"importance_{role}_in_{factor}", value, about, why or none, count=count))
    return out


def _commonest(job: Job, labels: Mapping[str, Ints]) -> list[Row]:
    """Return the rows of always saying the commonest class, of the very clips that are held out."""
    out = []
    for name, label in labels.items():
        fit, test = (label[rows] for rows in parted(len(label), seed=job.seed))
        about = f"{name}, always the commonest class"
        out.append(_row(f"explicitness_{name}", majority(fit, test), about, count=len(test), baseline=True))
    return out


def _share(found: DCI | None, of_d: Ints, group: int, held: tuple[str, ...]) -> tuple[float, str]:
    """Return the share of the importance of a role's labels that lies in its factor, or why there is none."""
    if found is None:
        return NAN, ""
    columns = [i for i, name in enumerate(found.labels) if name in held]
    weight = gathered(found.importance, of_d)[:, columns]
    if not weight.sum():
        return NAN, "no label of this role is told by any dimension"
    return float(weight[group].sum() / weight.sum()), ""


def _row(
    metric: str,
    value: float,
    about: str,
    reason: str = "",
    *,
    count: int | None = None,
    better: Better = "higher",
    baseline: bool = False,
) -> Row:
    return Row(
        metric=metric,
        values=(value,),
        unit="share",
        better=better,
        about=about,
        count=count,
        baseline=baseline,
        reason=reason,
    )
