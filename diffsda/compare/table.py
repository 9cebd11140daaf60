"""The comparison as a table in Markdown, and the words above and below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from diffsda.compare.columns import COLUMNS, POLICIES, Column, baselines, row_of
from diffsda.compare.record import Comparison, Scored
from diffsda.evaluate.protocols.swaps import WORDS
from diffsda.evaluate.record import ARROWS, number
from diffsda.evaluate.result import Row

NOTHING = "\u2013"
OTHER_JUDGES = (
    "judges are not quite the same for all systems: a loaded model was trained on other clips, and its judges are "
    "trained on clips as they come out of its units, which differ by rounding"
)


def document(held: Comparison, title: str = "") -> str:
    """Return the whole text: title, caption, table, what is missing, and trials."""
    head = [f"# {title or f'Systems on {held.data}'}", ""]
    return "\n".join([*head, caption(held), "", table(held), *notes(held), *trials(held)]).rstrip() + "\n"


def caption(held: Comparison) -> str:
    """Say what the table is of, and how it is to be read."""
    alike = len(set(held.judges.values())) < 2
    words = [
        f"{held.clips['test']} clips of the test part of {held.data}; budget of a training: {held.budget['words']}.",
        _models(held),
        f"All are scored on the same pairs from the same start noise{' by the same judges, trained once' * alike}. "
        "Rows in italics are no system's: chance, a clip handed back, raw features. What a system without start noise "
        "makes of its factors alone is all it makes.",
    ]
    words += [] if alike else [f"{OTHER_JUDGES[:1].upper()}{OTHER_JUDGES[1:]}."]
    if shared := held.clips.get("shared"):
        words.append(f"**{shared} of the clips that could be scored are among those that are trained on.**")
    spent = any(one.training_seconds is not None for one in held.systems)
    if spent:
        words.append(f"Training seconds are of {_machine(held)}.")
    if loaded := [one.name for one in held.systems if one.models and one.training_seconds is None]:
        words.append(f"Loaded as they were, whatever their budget and clips: {', '.join(loaded)}.")
    words.append(
        f"A swap is timed whole (both clips encoded, noise found where the system looks for it, decoded), "
        f"{held.timing['batch']} at once, the middle of {held.timing['repeats']} after one that does not count; what "
        f"counts is the ratio to {_reference(held).name}, not the seconds of this machine. {_execution(held)}"
    )
    return "\n".join(words)


def _models(held: Comparison) -> str:
    """Say how many models values are means of, and what is bold."""
    counts = {one.name: len(one.models) for one in held.systems if one.models}
    least, most = min(counts.values()), max(counts.values())
    if most == 1:
        return "One model each, so nothing says how far another seed would be off, and nothing is bold."
    many = str(least) if least == most else ", ".join(f"{count} of {name}" for name, count in counts.items())
    one = (
        "" if least > 1 else " One model says nothing of how far another seed would be off: beside it nothing is bold."
    )
    return (
        f"Values are means over {many} models of different training seeds with half their 95 % interval (Student's t), "
        "without one where all agree; the best is bold where its interval overlaps with no other system's." + one
    )


def _execution(held: Comparison) -> str:
    """Say how the models ran."""
    if held.timing.get("plain"):
        return (
            "Everything is scored in float32, and timed in float32 as the modules were trained; a row named prepared "
            "is of the same networks prepared for inference, which only DiffSDA's are."
        )
    return "DiffSDA's networks were prepared for inference, the others ran as they were trained."


def table(held: Comparison) -> str:
    """Return the table: a row a system, other start noises under it, baselines last."""
    columns = shown(held)
    head = ["system", *(_head(held, column) for column in columns)]
    head += ["parameters", "training seconds", "seconds a swap", "relative"]
    lines = []
    for one in held.systems:
        cells = [_cell(held, column, one) for column in columns]
        lines.append(
            [one.name, *cells, f"{one.parameters:,}", _spent(one), *_timed(held, one.swap_seconds, one.policy)]
        )
        for policy in POLICIES:
            rows = [row_of(one.rows, column, policy) if column.by_policy else None for column in columns]
            if any(row is not None and row.mean == row.mean for row in rows):
                lines.append(
                    [
                        f"{one.name}, {WORDS[policy]}",
                        *(_value(row) for row in rows),
                        "",
                        "",
                        *_timed(held, one.swap_seconds, policy),
                    ]
                )
        if one.prepared_seconds:
            blank = [""] * (len(columns) + 2)
            lines.append([f"{one.name}, prepared", *blank, *_timed(held, one.prepared_seconds, one.policy)])
    for words, by_metric in baselines(_some(held).rows).items():
        cells = [_value(by_metric.get(column.metric), blank=True) for column in columns]
        if any(cells):
            lines.append([f"*{words}*", *cells, "", "", "", ""])
    whole = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in whole) + "\n"


def shown(held: Comparison) -> list[Column]:
    """Return the columns that have a number in some row."""
    return [column for column in COLUMNS if any(_defined(row_of(one.rows, column)) for one in held.systems)]


def notes(held: Comparison) -> list[str]:
    """Say which of the main quantities are missing, and why; which trainings ended early or without a model; and which
    judges stand in for the papers'.
    """
    out = []
    for column in COLUMNS:
        rows = [row for one in held.systems if (row := row_of(one.rows, column)) is not None]
        if rows and not any(map(_defined, rows)):
            out.append(f"- not defined here: {column.words} ({next(row.reason for row in rows)})")
    judges = {(row.judge, row.substitute) for one in held.systems for kept in one.rows.values() for row in kept}
    out += _trainings(held)
    stand = sorted(name for name, substitute in judges if name and substitute)
    out += [f"- judges in the place of the papers': {', '.join(stand)}"] if stand else []
    return [*out, ""] if out else []


def trials(held: Comparison) -> list[str]:
    """Return what was tried of every system, as lines of a list."""
    if held.tuning is None:
        return []
    lines = [
        f"Tuned with {held.tuning['trials']} trials a system, training seed 0, chosen by {held.tuning['words']} on "
        f"{held.tuning['clips']} clips of {held.tuning['part']}; the test part was not looked at before the choice.",
        "",
        "| system | trial | score | |",
        "| --- | --- | --- | --- |",
    ]
    for one in held.systems:
        for place, trial in enumerate(one.trials):
            changes = ", ".join(
                f"{part}.{name} = {value:g}" if isinstance(value, float) else f"{part}.{name} = {value}"
                for part, values in trial["overrides"].items()
                for name, value in values.items()
            )
            score = f"{NOTHING} ({trial['reason']})" if trial["score"] is None else number(trial["score"])
            took = "chosen" if place == one.chosen else ""
            lines.append(f"| {one.name} | {changes or 'as it is'} | {score.replace('|', '/')} | {took} |")
    return [*lines, ""]


def best(rows: Sequence[Row | None]) -> int | None:
    """Return the place of the row whose mean is best and whose interval over models overlaps with no other's; None
    without one.
    """
    known = [(i, row) for i, row in enumerate(rows) if row is not None and row.mean == row.mean]
    widths = {i: _over_models(row) for i, row in known}
    if len(known) < 2 or any(width is None for width in widths.values()):
        return None
    higher = known[0][1].better == "higher"
    place, _ = max(known, key=lambda one: one[1].mean if higher else -one[1].mean)
    ours = widths.pop(place)
    for theirs in widths.values():
        assert ours is not None
        assert theirs is not None
        if not (ours[0] > theirs[1] if higher else ours[1] < theirs[0]):
            return None
    return place


def _over_models(row: Row) -> tuple[float, float] | None:
    """Return the interval of a row over models, of width 0 where they agree; None with one model, whatever its seeds
    say of it.
    """
    if row.models < 2:
        return None
    return row.interval or (row.mean, row.mean)


def _head(held: Comparison, column: Column) -> str:
    row = next(row for one in held.systems if (row := row_of(one.rows, column)) is not None)
    return f"{column.words} {ARROWS[row.better]}".strip()


def _cell(held: Comparison, column: Column, one: Scored) -> str:
    rows = [row_of(other.rows, column) for other in held.systems]
    if not one.models:
        return NOTHING
    place = held.systems.index(one)
    text = _value(rows[place])
    return f"**{text}**" if best(rows) == place else text


def _defined(row: Row | None) -> bool:
    return row is not None and row.mean == row.mean


def _value(row: Row | None, *, blank: bool = False) -> str:
    if row is None or row.mean != row.mean:
        return "" if blank or row is None else NOTHING
    interval = row.interval
    if interval is None or row.over != "models":
        return number(row.mean)
    # Shares end at 0 and 1, so that an interval may be cut off on one side.
    half = max(interval[1] - row.mean, row.mean - interval[0])
    return f"{number(row.mean)} \u00b1 {number(half)}"


def _spent(one: Scored) -> str:
    spent = one.training_seconds
    return NOTHING if spent is None else f"{spent:,.0f}" if spent >= 10 else f"{spent:.2g}"


def _timed(held: Comparison, by_policy: Mapping[str, float], policy: str) -> list[str]:
    """Return seconds a swap and what they are to those of the system that counts as 1."""
    seconds = by_policy.get(policy)
    if seconds is None:
        return ["", ""] if by_policy else [NOTHING, NOTHING]
    reference = _reference(held)
    ratio = seconds / reference.swap_seconds[reference.policy]
    return [f"{seconds:.2g}", f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2g}"]


def _reference(held: Comparison) -> Scored:
    """Return the system whose swaps take 1: the first of DiffSDA, or the first, of those that have a model."""
    return next((one for one in held.systems if one.system == "diffsda" and one.models), _some(held))


def _some(held: Comparison) -> Scored:
    return next(one for one in held.systems if one.models)


def _trainings(held: Comparison) -> list[str]:
    """Return, as lines of a list, which trainings ended early, or without a model, and what to know of others."""
    out = []
    for one in held.systems:
        out += [f"- {one.name}: {reason}" for reason in dict.fromkeys(one.failed)]
        early = [model for model in one.models if model.get("planned") and model["step"] < model["planned"]]
        if early:
            steps = ", ".join(f"{model['step']} of {model['planned']}" for model in early)
            out.append(f"- {one.name}: stopped by the clock at step {steps}, before its schedule's end")
        out += [f"- {one.name}: {note}" for note in one.notes]
    return out


def _machine(held: Comparison) -> str:
    cores, threads = held.machine.get("cores"), held.machine.get("threads")
    device = held.machine.get("trained_on", "this machine")
    return f"{device}: {cores} cores, {threads} thread{'' if threads == 1 else 's'}"
