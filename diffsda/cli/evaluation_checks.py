"""What an evaluation is refused for before anything is scored, in the words of the flags that were typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffsda.errors import DiffSDAError, InputError

if TYPE_CHECKING:
    from diffsda.cli.evaluate import Options
    from diffsda.data.clip import Clips
    from diffsda.evaluate.pairs import Rows
    from diffsda.evaluate.protocols import Protocol
    from diffsda.evaluate.result import Row


def all_different(models: Sequence[Mapping[str, Any]]) -> None:
    """Refuse one model that is given twice: an interval over it would say nothing.

    models: what each is known by, ``model`` (its path) and ``weights`` (their digest).
    """
    first: dict[str, str] = {}
    for one in models:
        path, weights = str(one["model"]), str(one["weights"])
        if weights in first:
            raise InputError(
                f"MODEL: {path} is given twice (same weights as {first[weights]}), expected models trained with "
                "different seeds"
            )
        first[weights] = path


def own_settings(wanted: Protocol, given: dict[str, Any], draw_pairs: int | None) -> dict[str, Any]:
    """Return a protocol's settings with the pairs to draw among them."""
    settings = wanted.checked(given)
    if draw_pairs is None:
        return settings
    if "pairs" not in wanted.settings:
        raise InputError(f"--draw-pairs: got {draw_pairs}, but {wanted.name} draws no pairs; leave it out")
    for name in ("pairs", "count"):
        if name in settings:
            raise InputError(
                f"--draw-pairs: got {draw_pairs} and --set {name}={settings[name]} as well, expected one of them"
            )
    return settings | wanted.checked({"pairs": draw_pairs})


def kept_pairs(options: Options, clips: Clips, folder: Path | None) -> Rows | None:
    """Read the list of pairs that was named, if any."""
    from diffsda.evaluate.pairs import read, read_list

    if options.pairs is None:
        return None
    read_list(options.pairs)
    try:
        return read(options.pairs, clips, folder=folder, split=options.split)
    except InputError as error:
        if options.count is None:
            raise
        raise InputError(
            f"{error}; --count {options.count} scores some of the clips only: leave it out, or give the --count that "
            "the list was saved with"
        ) from None


def kept_apart(fit: Clips, test: Clips, options: Options) -> None:
    """Refuse to score the clips that judges are fitted on."""
    if fit.fingerprint() != test.fingerprint():
        return
    if options.fit is None:
        raise InputError(
            f"--split: got {options.split}, which judges are fitted on; give other clips to fit on (--fit), or "
            "--split test"
        )
    raise InputError("--fit: got the clips that are scored, expected others: judges fitted on them would know")


def something_measured(protocol: str, rows: Sequence[Row]) -> None:
    """Refuse a result in which nothing is said of the model.

    Raises: DiffSDAError with the reasons.
    """
    own = [row for row in rows if not row.baseline]
    if own and all(row.mean != row.mean for row in own):
        reasons = "; ".join(dict.fromkeys(row.reason for row in own))
        raise DiffSDAError(f"{protocol}: nothing could be measured of the model, no result is written: {reasons}")
