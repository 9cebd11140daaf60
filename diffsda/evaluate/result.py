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

    def __post_init__(self) -> None:
        if not self.values:
            raise InputError(f"row {self.metric}: got no value, expected one a seed (NaN with a reason if undefined)")
        if any(math.isnan(v) for v in self.values) and not self.reason:
            raise InputError(f"row {self.metric}: got NaN without a reason, expected to be told why")

    @property
    def mean(self) -> float:
        """The mean over seeds; NaN if one of them is."""
        return math.fsum(self.values) / len(self.values)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % confidence interval of the mean over seeds (Student's t), None with one seed or NaN."""
        from scipy import stats

        n = len(self.values)
        if n < 2 or math.isnan(self.mean):
            return None
        spread = math.sqrt(math.fsum((v - self.mean) ** 2 for v in self.values) / (n - 1))
        half = float(stats.t.ppf(0.975, n - 1)) * spread / math.sqrt(n)
        return self.mean - half, self.mean + half

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, fit for JSON: NaN becomes None."""
        interval = self.interval
        return {
            "metric": self.metric,
            "about": self.about,
            "values": [_plain(v) for v in self.values],
            "mean": _plain(self.mean),
            "interval": None if interval is None else list(interval),
            "unit": self.unit,
            "better": self.better,
            "count": self.count,
            "missed": self.missed,
            "judge": self.judge,
            "substitute": self.substitute,
            "baseline": self.baseline,
            "reason": self.reason,
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
            return cls(values=values, baseline=plain["baseline"], reason=plain["reason"], **kept)
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
                **{k: v for k, v in vars(same[0]).items() if k not in ("values", "missed", "reason")},
                values=tuple(v for r in same for v in r.values),
                missed=sum(missed) / len(missed) if missed else None,
                reason=next((r.reason for r in same if r.reason), ""),
            )
        )
    return merged


def _plain(value: float) -> float | None:
    return None if math.isnan(value) or math.isinf(value) else value
