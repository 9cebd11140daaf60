"""Where swaps start from, compared: all four start noises on the same pairs, judged and traced as in the demo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from diffsda.disentangler import Disentangler, StartNoise
from diffsda.errors import InputError
from diffsda.evaluate.clip_labels import agree
from diffsda.evaluate.judge import Judge
from diffsda.evaluate.lengths import Array, Ints, valid
from diffsda.evaluate.result import Row
from diffsda.evaluate.trajectory import centred_cosine
from diffsda.tasks.batches import Track, silent
from diffsda.tasks.swap import swap

if TYPE_CHECKING:
    from diffsda.data.clip import Clips

POLICIES: tuple[StartNoise, ...] = ("dynamic", "static", "fresh", "shared")
"""The dynamics donor's stochastic code, the static donor's, noise that is drawn, one frame's drawn for all frames."""
COPIES = ("copied_static_donor", "copied_dynamic_donor")
"""Baselines: no swap at all, but one of the donors as it is."""
SCORES = {
    "read_as_static": "read as the static donor",
    "read_as_dynamic": "read as the dynamics donor",
    "trajectory_to_dynamic": "cosine of motion to the dynamics donor",
    "trajectory_to_static": "cosine of motion to the static donor",
}
JUDGE = "linear reader of the time mean"


def noise_policies(
    model: Disentangler,
    fit: Clips,
    test: Clips,
    *,
    label: str,
    seed: int = 0,
    steps: int | None = None,
    batch: int = 64,
    policies: Sequence[StartNoise] = POLICIES,
    track: Track = silent,
) -> list[Row]:
    """Swap the same pairs from every start noise and score what comes out; copies of the donors beside them.

    ``fit`` is what the judge is fitted on, ``test`` what is swapped, both in the model's units; ``label`` is a static
    one that both have. Each test clip gets the dynamics of one with another label and as many frames, since the static
    donor's code cannot start a clip of another length; a clip without such a partner is left out (see the rows' count),
    as are clips whose label is not known (below 0), here and among those that are fitted on.
    Metrics are ``SCORES``, each followed by the policy: ``read_as_static_fresh``.
    Source: DiffSDA appendix B.4 (the dynamics donor's code); the authors' face evaluation (the code of the clip shown).
    Raises: InputError for a label that is missing or has one value, an unknown policy, or no pair at all.
    """
    unknown = [p for p in policies if p not in POLICIES]
    if unknown or not policies:
        raise InputError(f"policies: got {unknown or 'none'}, expected some of {', '.join(POLICIES)}")
    for clips in (fit, test):
        if label not in clips.labels or clips.labels[label].ndim != 1:
            whole = [name for name, held in clips.labels.items() if held.ndim == 1]
            raise InputError(f"label: got {label!r}, expected one a clip of {clips.name}: {', '.join(whole) or 'none'}")
    agree(fit, test, [label])
    judge = Judge.fit(fit.x, fit.labels[label], fit.lengths)
    rows, partners = same_length_donors(test.labels[label], valid(test.lengths, len(test), test.frames), seed)
    static, dynamic = test.select(rows), test.select(partners)
    found = []
    for name in (*policies, *COPIES):
        if name in COPIES:
            made = (static if name == COPIES[0] else dynamic).x
        else:
            made = swap(model, static, dynamic, noise=name, steps=steps, seed=seed, batch=batch, track=track)  # type: ignore[arg-type]
        n = dynamic.lengths
        scores = {
            "read_as_static": judge.share(made, static.labels[label], n),
            "read_as_dynamic": judge.share(made, dynamic.labels[label], n),
            "trajectory_to_dynamic": float(centred_cosine(made, dynamic.x, n, n).mean()),
            "trajectory_to_static": float(centred_cosine(made, static.x, n, n).mean()),
        }
        found += [_row(score, value, name, len(rows)) for score, value in scores.items()]
    return found


def same_length_donors(labels: Array, lengths: Ints, seed: int) -> tuple[Ints, Ints]:
    """Draw for every clip another with another label and as many frames, as the donor of its dynamics.

    Clips whose label is not known (below 0) get none and are nobody's.
    Shapes: labels, lengths (N,) -> the clips that have one (M,), and their donors (M,).
    Raises: InputError if no clip has one.
    """
    draw = np.random.default_rng(seed)
    pairs, known = [], labels >= 0
    for i, (label, n) in enumerate(zip(labels, lengths, strict=True)):
        others = np.flatnonzero(known & (labels != label) & (lengths == n))
        # Drawn from for every clip, so that a clip's donor does not depend on who else has one.
        place = draw.random()
        if known[i] and len(others):
            pairs.append((i, int(others[int(place * len(others))])))
    if not pairs:
        raise InputError("donors: got no two clips of different labels and as many frames, expected some")
    rows, partners = np.array(pairs).T
    return rows, partners


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown: a line a policy, the copies below in italics."""
    by_metric = {row.metric: row for row in rows}
    names = [name for name in (*POLICIES, *COPIES) if f"{next(iter(SCORES))}_{name}" in by_metric]
    lines = [f"| start noise | {' | '.join(SCORES.values())} |", f"|---|{'---|' * len(SCORES)}"]
    for name in names:
        cells = [_cell(by_metric[f"{score}_{name}"]) for score in SCORES]
        words = f"*{name.replace('_', ' ')}*" if name in COPIES else f"`{name}`"
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: Row) -> str:
    half = "" if row.interval is None else f" ± {row.interval[1] - row.mean:.3f}"
    return f"{row.mean:.3f}{half}"


def _row(score: str, value: float, name: str, count: int) -> Row:
    read = score.startswith("read")
    better = {"read_as_dynamic": "lower", "trajectory_to_static": "neither"}.get(score, "higher")
    return Row(
        metric=f"{score}_{name}",
        values=(value,),
        unit="share" if read else "cosine",
        better=better,  # type: ignore[arg-type]
        about=f"{SCORES[score]}, {name.replace('_', ' ')}{'' if name in COPIES else ' start noise'}",
        count=count,
        judge=JUDGE if read else "",
        baseline=name in COPIES,
    )
