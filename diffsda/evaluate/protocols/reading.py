"""A reader of a job's labels: trained on the fitting part, asked what it sees in clips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from diffsda.errors import InputError
from diffsda.evaluate.clip_labels import agree, table
from diffsda.evaluate.job import Job
from diffsda.evaluate.judges.kinds import Reader
from diffsda.evaluate.lengths import Array, Floats, Ints
from diffsda.evaluate.protocols.swaps import Part, real

Read = dict[str, Floats]
"""For each label probabilities (N, classes)."""


def reader_of(job: Job, names: Sequence[str], frame_labels: Sequence[str] = ()) -> Reader:
    """Return a reader of these labels, trained on the fitting part; of ``frame_labels`` in single frames too.

    It is the same for every seed of a job: a judge does not change with what is judged.
    options: judge_seed, judge (settings of its training).
    Raises: InputError if the test part shows a value that the fitting part does not, its classes have other names, or
    the reader knows other classes.
    """
    agree(job.fit, job.test, names)
    fit, test = table(job.fit, names), table(job.test, names)
    for name in names:
        _check_seen(name, fit[name], test[name])
    x = np.concatenate([part.x for part in real(job, part="fit")])
    reader = job.shelf.reader(
        x,
        fit,
        lengths=job.fit.lengths,
        names={name: words for name, words in job.fit.label_names.items() if name in names},
        frame_labels=tuple(frame_labels),
        seed=int(job.options.get("judge_seed", 0)),
        **job.options.get("judge", {}),
    )
    for name in names:
        classes = len(reader.factors.get(name, ()))
        if classes <= max(fit[name].max(), test[name].max()):
            raise InputError(
                f"judge {reader.name}: reads {classes} classes of {name}; expected {int(fit[name].max()) + 1} or more, "
                "as the clips have"
            )
    return reader


def read(reader: Reader, parts: Iterable[Part]) -> Read:
    """Return what a reader sees in clips: for each label probabilities (N, classes)."""
    said = [reader.read(part.x, part.lengths) for part in parts]
    return {name: np.concatenate([one[name] for one in said]) for name in reader.factors}


def classes_of(probabilities: Mapping[str, Array], names: Sequence[str]) -> Ints:
    """Return the likeliest class of every label, (N, labels)."""
    return np.stack([np.asarray(probabilities[name]).argmax(axis=1) for name in names], 1)


def shown(labels: Mapping[str, Ints], rows: Array) -> Ints:
    """Return the labels (P, labels) of clips at rows (P,).

    Raises: InputError if one of them is not known.
    """
    for name, label in labels.items():
        unknown = np.flatnonzero(label[rows] < 0)
        if unknown.size:
            raise InputError(f"label {name}: is unknown of clip {rows[unknown[0]]}, expected it of every clip in pairs")
    return np.stack([label[rows] for label in labels.values()], 1)


def _check_seen(name: str, fit: Ints, test: Ints) -> None:
    strange = np.setdiff1d(test[test >= 0], fit)
    if strange.size:
        raise InputError(
            f"label {name}: got {strange.size} values in the test part that no clip of the fitting part has (the first "
            f"is {strange[0]}), expected the same ones in both: no reader can learn them"
        )
