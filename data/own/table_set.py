"""A set of one's own tables: read, looked over, put in order, split, written as a prepared folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from diffsda.data.frames_moments import Moments
from diffsda.data.own import splitting, windows
from diffsda.data.own.columns import Roles, choose, same_columns
from diffsda.data.own.infer import Found
from diffsda.data.own.rows import Series, to_series
from diffsda.data.own.settings import Settings
from diffsda.data.own.table_files import Table, read_table
from diffsda.data.own.twins import Twins
from diffsda.data.prepared import Dataset
from diffsda.data.problems import Problems
from diffsda.data.series.parts import Parts, Tell, leave
from diffsda.data.stream import Watch
from diffsda.errors import InputError

Pieces = dict[str, list[windows.Piece]]


def build(found: Found, out: Path, ask: Settings, problems: Problems, tell: Tell, watch: Watch) -> Dataset:
    """Read tables into a prepared folder of series; return what its dataset.json says.

    Series are the rows of one id, in all files together. They are split by id; where files lie in folders called train,
    val and test, these decide, and an id that is in two of them is left out of the later one. A set of one series is
    split in time. A file that holds the same bytes as another is left out, and where folders decide the training part
    keeps it.
    Raises: InputError if nothing can be used; MissingPackage without pyarrow, or without pandas where there are dates.
    """
    tables = _read(found, problems, watch)
    if not tables:
        raise InputError(f"{found.root}: no table can be read; see what was told above")
    roles = _with_named(tables, ask, tell)
    tables = [table for table in same_columns(tables, problems) if _has(table, roles)]
    tell(f"features ({len(roles.values)}): {', '.join(roles.values[:12])}{', ...' if len(roles.values) > 12 else ''}")
    paths = [Path(table.path).relative_to(found.root) for table in tables]
    if splitting.has_splits(paths):
        pieces, frames = _by_folder(tables, paths, roles, ask, problems, tell)
    else:
        series = to_series(tables, roles, problems, tell)
        if not series:
            raise InputError(f"{found.root}: no row can be used; see what was told above")
        frames = windows.length(series, ask.frames, tell)
        pieces = _drawn(windows.cut(series, frames, problems, tell), ask, tell)
    return _write(pieces, frames, roles, out, ask, problems, tell)


def _read(found: Found, problems: Problems, watch: Watch) -> list[Table]:
    """Read every table once: the training part first, as what is there again is left out of the later one."""
    paths = splitting.training_first(found.paths, lambda path: splitting.split_of(path.relative_to(found.root)))
    tables, twins = [], Twins(found.root, problems)
    for path in watch(paths, len(paths), "tables"):
        if twins.again(path):
            continue
        table = read_table(path, found.name(path), problems)
        if table is not None:
            tables.append(table)
            twins.use(path)
    return tables


def _with_named(tables: Sequence[Table], ask: Settings, tell: Tell) -> Roles:
    """Decide on columns by the first table that is not empty."""
    table = max(tables[:8], key=len)
    roles = choose(table, ask.id, ask.time, tell)
    if roles.id is None:
        tell("id: no column tells series apart, so every file is one series (--id COLUMN)")
    return roles


def _has(table: Table, roles: Roles) -> bool:
    wanted = {*roles.values, *roles.words, *(name for name in (roles.id, *roles.time) if name)}
    return wanted <= set(table.names)


def _by_folder(
    tables: Sequence[Table], paths: Sequence[Path], roles: Roles, ask: Settings, problems: Problems, tell: Tell
) -> tuple[Pieces, int | None]:
    """Cut clips split by split, as folders say, and keep every series on one side."""
    series: dict[str, list[Series]] = {}
    side: dict[str, str] = {}
    for split in ("train", "val", "test"):
        own = [table for table, path in zip(tables, paths) if splitting.split_of(path) == split]
        for one in to_series(own, roles, problems, tell) if own else []:
            if side.setdefault(one.key, split) != split:
                where, line = one.where
                reason = f"series {one.key!r} is in {side[one.key]} already; left out of {split}"
                problems.add(where, reason, line)
                continue
            series.setdefault(split, []).append(one)
    for table, path in zip(tables, paths):
        if splitting.split_of(path) is None:
            problems.add(table.path, splitting.OUTSIDE)
    if "train" not in series:
        raise InputError("train: holds no row that can be used; see what was told above")
    frames = windows.length(series["train"], ask.frames, tell)
    return {split: windows.cut(held, frames, problems, tell) for split, held in series.items()}, frames


def _drawn(pieces: list[windows.Piece], ask: Settings, tell: Tell) -> Pieces:
    """Split clips by their series; those of the only series there is by time."""
    keys = [piece.key for piece in pieces]
    if len(set(keys)) == 1:
        tell("one series: its end is held out, val before test")
        sides = splitting.in_time(len(pieces), ask.val_share, ask.test_share)
    else:
        sides = splitting.draw(keys, ask.val_share, ask.test_share, ask.seed)
    return {split: [p for p, side in zip(pieces, sides) if side == split] for split in ("train", "val", "test")}


def _write(
    pieces: Pieces, frames: int | None, roles: Roles, out: Path, ask: Settings, problems: Problems, tell: Tell
) -> Dataset:
    everything = [piece for split in pieces for piece in pieces[split]]
    if not pieces.get("train"):
        raise InputError(f"{ask.name}: no clip is left for training; see what was told above")
    longest = frames or max(len(piece.values) for piece in everything)
    words = windows.label_words(everything)
    parts: Parts = {split: windows.to_arrays(held, words, longest) for split, held in pieces.items() if held}
    missing = sum(int(np.isnan(piece.values).sum()) for piece in everything)
    if missing:
        total = sum(piece.values.size for piece in everything)
        tell(f"missing: {missing} of {total} values, marked in the mask")
    moments = windows.moments(parts["train"])
    _tell_degenerate(roles.values, moments, tell)
    held = Dataset(
        kind="arrays",
        name=ask.name,
        modality="series",
        frames=frames,
        channels=len(roles.values),
        splits={"train": 1},
        label_names=words,
        statistics=moments.statistics(),
        options={**ask.options(), "id": roles.id, "time": ",".join(roles.time) or None, "features": list(roles.values)},
        source=f"tables in {ask.source.name}",
    )
    return leave(out, held, parts, problems)


def _tell_degenerate(names: Sequence[str], moments: Moments, tell: Tell) -> None:
    flat = moments.degenerate()
    for name, mean, bad in zip(names, moments.mean, flat):
        if bad:
            tell(f"column {name!r} hardly varies around {mean:g} in the training part: it teaches nothing")
    small = (moments.std < 1e-6) & ~flat
    for name, std, bad in zip(names, moments.std, small):
        if bad:
            tell(f"column {name!r} varies by {std:.2g} only: give it in smaller units, or it counts as constant")
