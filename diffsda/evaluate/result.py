"""What a protocol measured: rows over seeds, with the mean, its interval, what was missed and who judged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from diffsda.errors import InputError

Better = Literal["lower", "higher", "neither"]
NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured quantity: a value a seed.

    A quantity that is not defined on the data, or whose judge is missing, is NaN with a ``reason``; it is never 0.
    """

    metric: str
    """Snake case, as in ``published``: aed_static_frozen, eer_static, ..."""
    values: tuple[float, ...]
    unit: str
    """share (0 to 1), nats, pixels, hours, ..."""
    better: Better
    about: str = ""
    """What it is, in words: the table's first column."""
    count: int | None = None
    """Clips, pairs or frames it was measured over."""
    missed: float | None = None
    """Share of them in which a judge found nothing; None where nothing can be missed."""
    judge: str = ""
    substitute: bool = False
    """Whether the judge stands in for the paper's, so that values are on another scale."""
    baseline: bool = False
    """Whether the row is not the model's: chance, a constant, the raw features, the real clips."""
    reason: str = ""
    """Why there is no value."""
    notes: tuple[str, ...] = ()
    """What to know of the value there is: what was cut or left out, what it is too few for."""
    models: int = 1
    """Models the values are of, as many a model: model by model, seed by seed."""

    def __post_init__(self) -> None:
        if not self.values:
            raise InputError(f"row {self.metric}: got no value, expected one a seed (NaN with a reason if undefined)")
        if self.models < 1 or len(self.values) % self.models:
            raise InputError(f"row {self.metric}: got {len(self.values)} values of {self.models} models")
        if any(math.isnan(v) for v in self.values) and not self.reason:
            raise InputError(f"row {self.metric}: got NaN without a reason, expected to be told why")
        if any(math.isinf(v) for v in self.values):
            raise InputError(f"row {self.metric}: got an infinite value, expected NaN with the reason why it is")

    @property
    def mean(self) -> float:
        """The mean over seeds; NaN if one of them is."""
        return math.fsum(self.values) / len(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of the mean (Student's t): over models where there are several, else over seeds.

        What a model scores with other seeds says nothing about other models, so seeds are averaged first. None with one
        value, with NaN, and where all agree: a quantity that no seed changes is not known exactly for that.
        """
        from scipy import stats

        values = self._independent()
        n = len(values)
        if n < 2 or math.isnan(self.mean) or max(values) == min(values):
            return None
        spread = math.sqrt(math.fsum((v - self.mean) ** 2 for v in values) / (n - 1))
        half = float(stats.t.ppf(0.975, n - 1)) * spread / math.sqrt(n)
        low, high = self.mean - half, self.mean + half
        inside = self.unit == "share" and all(0 <= v <= 1 for v in values)
        return (max(0.0, low), min(1.0, high)) if inside else (low, high)

    @property
    def over(self) -> str:
        """What the interval is over: models, seeds, or nothing."""
        return "" if self.interval is None else "models" if self.models > 1 else "seeds"

    def _independent(self) -> list[float]:
        if self.models == 1:
            return list(self.values)
        each = len(self.values) // self.models
        return [math.fsum(self.values[i * each : (i + 1) * each]) / each for i in range(self.models)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, fit for JSON: NaN becomes None."""
        interval = self.interval
        return {
            "metric": self.metric,
            "about": self.about,
            "values": [_plain(v) for v in self.values],
            "mean": _plain(self.mean),
            "interval": None if interval is None else list(interval),
            "over": self.over,
            "models": self.models,
            "unit": self.unit,
            "better": self.better,
            "count": self.count,
            "missed": self.missed,
            "judge": self.judge,
            "substitute": self.substitute,
            "baseline": self.baseline,
            "reason": self.reason,
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, plain: Any) -> Row:
        """Read what ``to_dict`` wrote.

        Raises: InputError if it is not of that form.
        """
        try:
            kept = {
                k: plain[k] for k in ("metric", "about", "unit", "better", "count", "missed", "judge", "substitute")
            }
            values = tuple(NAN if v is None else float(v) for v in plain["values"])
            more = {name: plain[name] for name in ("baseline", "reason")}
            more |= {"models": plain.get("models", 1), "notes": tuple(map(str, plain.get("notes", ())))}
            return cls(values=values, **more, **kept)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"row: is not usable ({error!r}), expected what `diffsda evaluate` writes") from None


def merge(runs: list[list[Row]]) -> list[Row]:
    """Put rows of one seed each together, a value a run, in the order of the first.

    A metric is told by its name, judge and whether it is a baseline; counts are of the first run, the missed share is
    the mean.
    Raises: InputError if runs hold different rows.
    """
    if not runs:
        raise InputError("results: got no run, expected one a seed")
    keys = [[(r.metric, r.judge, r.baseline, r.about) for r in rows] for rows in runs]
    if any(k != keys[0] for k in keys):
        raise InputError(f"results: got rows {keys[0]} and others, expected the same of every seed")
    merged = []
    for same in zip(*runs, strict=True):
        missed = [r.missed for r in same if r.missed is not None]
        merged.append(
            Row(
                **{k: v for k, v in vars(same[0]).items() if k not in ("values", "missed", "reason", "notes")},
                values=tuple(v for r in same for v in r.values),
                missed=sum(missed) / len(missed) if missed else None,
                reason=next((r.reason for r in same if r.reason), ""),
                notes=tuple(dict.fromkeys(one for r in same for one in r.notes)),
            )
        )
    return merged


def _plain(value: float) -> float | None:
    return None if math.isnan(value) or math.isinf(value) else value
