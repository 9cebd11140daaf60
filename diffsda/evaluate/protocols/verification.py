"""verification: is it the same person with s kept, and the same action with d kept?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diffsda.evaluate.clip_labels import table, usable
from diffsda.evaluate.job import Job
from diffsda.evaluate.judges.kinds import Reader
from diffsda.evaluate.lengths import Array
from diffsda.evaluate.protocols.faces import COPIES, VideoSwaps
from diffsda.evaluate.protocols.reading import classes_of, read, reader_of, shown
from diffsda.evaluate.protocols.swaps import WORDS, Part, Policy, name_of, real
from diffsda.evaluate.result import NAN, Row

METRIC = "action_accuracy_dynamics_frozen"


def run(job: Job) -> list[Row]:
    """Add to the rows of swap-video whether a reader still sees x's dynamic labels in swaps with d of x kept.

    The reader is trained on the fitting part; with several dynamic labels all must be right, and each has a row of its
    own. Baselines: copies of either donor (that of the dynamics donor is what the reader makes of real clips) and
    chance.
    options: as swap-video, and judge_seed.
    Source: DiffSDA appendix G.2, Tables 10 and 11.
    Raises: InputError as swap-video, and as ``reader_of``.
    """
    swaps = VideoSwaps(job)
    names, reason = usable([job.fit, job.test], job.dynamic)
    if not names:
        reason = reason or "the clips have no dynamic labels"
        return [*swaps.rows(), *(_undefined(name_of(METRIC, p, swaps.counts), p, reason) for p in swaps.policies)]
    reader = reader_of(job, names)
    seen: dict[Policy, list[Array]] = {policy: [] for policy in swaps.policies}

    def watch(policy: Policy, part: Part) -> None:
        seen[policy].append(classes_of(read(reader, [part]), names))

    rows = swaps.rows(watch)
    truth = shown(table(job.test, names), swaps.pairs[0])
    for policy, parts in seen.items():
        found = np.concatenate(parts)
        rows += _rows(reader, names, found, truth, name_of("", policy, swaps.counts), WORDS[policy], baseline=False)
    held = np.unique(np.concatenate(swaps.pairs))
    known = np.empty((len(job.test), len(names)), np.int64)
    known[held] = classes_of(read(reader, real(job, held)), names)
    for copied, words in COPIES.items():
        donor = swaps.pairs[0] if copied == "dynamics" else swaps.pairs[1]
        rows += _rows(reader, names, known[donor], truth, "", words, baseline=True)
    return [*rows, _chance(reader, names)]


def _rows(
    reader: Reader, names: Sequence[str], found: Array, truth: Array, suffix: str, words: str, *, baseline: bool
) -> list[Row]:
    right = found == truth  # (P, labels)
    metrics = {METRIC: ("action read as that of x", right.all(axis=1))}
    if len(names) > 1:
        metrics |= {f"{name}_read_dynamics_frozen": (f"{name} of x", right[:, i]) for i, name in enumerate(names)}
    return [
        Row(
            metric=metric + suffix,
            values=(float(hits.mean()),),
            unit="share",
            better="higher",
            about=f"{about}, d of x kept; {words}",
            count=len(hits),
            judge=reader.name,
            substitute=reader.substitute,
            baseline=baseline,
        )
        for metric, (about, hits) in metrics.items()
    ]


def _chance(reader: Reader, names: Sequence[str]) -> Row:
    return Row(
        metric=METRIC,
        values=(float(np.prod([1 / len(reader.factors[name]) for name in names])),),
        unit="share",
        better="higher",
        about="action read as that of x; chance",
        baseline=True,
    )


def _undefined(metric: str, policy: Policy, reason: str) -> Row:
    about = f"action read as that of x, d of x kept; {WORDS[policy]}"
    return Row(metric=metric, values=(NAN,), unit="share", better="higher", about=about, reason=reason)
