"""ETTh1: load and oil temperature of an electricity transformer, hourly, July 2016 to June 2018."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from diffsda.data.check import Array
from diffsda.data.prepared import Dataset
from diffsda.data.problems import Problems
from diffsda.data.series import months
from diffsda.data.series.parts import Parts, Tell, find, note, part, silent
from diffsda.data.series.tables import Table, header_of, read_table, runs
from diffsda.data.series.zscore import zscore
from diffsda.data.stream import Watch, unwatched
from diffsda.errors import InputError

FEATURES = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL")
TIME = ("year", "month", "day", "hour")
FIT, TEST = (2017, 2018), (2016,)
YEARS = (2016, 2017, 2018)
ROWS = 17_420
MD5 = "8381763947c85f4be6ac456c508460d6"
"""Of the public ETTh1.csv (2,589,657 bytes)."""
MOST_GAPS = 20
"""Runs of missing values told one by one, a column."""
SHIFT = 14 * 10
"""Hours by which the authors' code turns the signals, and not what belongs to them."""
WHERE = "ETTh1.csv of the repository zhouhaoyi/ETDataset, folder ETT-small (CC BY-ND 4.0)"


def build(
    root: Path,
    *,
    problems: Problems,
    seed: int = 0,
    as_published: bool = False,
    tell: Tell = silent,
    watch: Watch = unwatched,
) -> tuple[Dataset, Parts]:
    """Read the table and make the clips of all parts.

    Shapes: x (N, 672, 6) loads, z-scored, 0 where missing; mask like x; labels year, month (N,), day (N, 672);
    OT (N, 672) float32, the oil temperature in degrees as measured, goes along and is no input.
    A clip is the first 672 hours of a month. 2016 is the test part; of the other months 85 % train. The public table
    names its hours in a column ``date``; columns year, month, day, hour are read as well.
    as_published: every table of the folder is put under the other (so that another site fills up the short last
    month), and the signals are turned by 140 hours, OT and days are not.
    Raises: InputError if there is no table or no month in it.
    """
    paths = _paths(root, as_published)
    sites = []
    for path in watch(paths, len(paths), "tables"):
        try:
            sites.append(_read(path, problems, tell))
        except InputError as error:
            note(problems, path, error)
    if not sites:
        raise InputError(f"--root: got no table that can be read under {root}, expected {WHERE}")
    columns = {name: np.concatenate([site[name] for site in sites]) for name in sites[0]}
    chosen, short = months.months(columns, 0, by_order=as_published)
    for month in short:
        tell(f"{month.year}-{month.month:02}: fewer than {months.HOURS} hours, left out")
    if not chosen:
        raise InputError(f"--root: got {root} without a month of {months.HOURS} hours, expected {WHERE}")
    return _parts(columns, chosen, seed, as_published)


def _parts(
    columns: dict[str, Array], chosen: list[months.Month], seed: int, as_published: bool
) -> tuple[Dataset, Parts]:
    splits = months.by_year(chosen, FIT, TEST, seed)
    raw = months.gather(np.stack([columns[name] for name in FEATURES], 1), chosen)
    known = ~np.isnan(raw)
    x, statistics = zscore(raw, known, np.array(splits["train"], np.int64))
    held = {
        "x": np.roll(x, -SHIFT, axis=1) if as_published else x,
        "mask": (~known).astype(np.uint8),
        "year": np.array([YEARS.index(m.year) if m.year in YEARS else -1 for m in chosen]),
        "month": np.array([m.month - 1 for m in chosen]),
        "day": np.nan_to_num(months.gather(columns["day"], chosen), nan=-1).astype(np.int64),
        "OT": months.gather(columns["OT"], chosen).astype(np.float32),
    }
    options: dict[str, Any] = {"as_published": as_published, "seed": seed, "features": list(FEATURES)}
    dataset = Dataset(
        kind="arrays",
        name="etth1",
        modality="series",
        frames=months.HOURS,
        channels=len(FEATURES),
        splits={"train": len(splits["train"])},
        label_names={"year": tuple(map(str, YEARS)), "month": months.NAMES},
        statistics=((0.0,) * len(FEATURES), (1.0,) * len(FEATURES)),
        options=options | {"raw_mean": list(statistics[0]), "raw_std": list(statistics[1])},
        source="ETTh1 of the Electricity Transformer data set",
        licence="CC BY-ND 4.0",
        citation="Zhou, Zhang, Peng, Zhang, Li, Xiong, Zhang: Informer: beyond efficient transformer for long sequence "
        "time-series forecasting. AAAI 2021",
    )
    return dataset, part(held, splits)


def _paths(root: Path, as_published: bool) -> list[Path]:
    found = find(root, "[Ee][Tt][Tt][Hh]1.csv")
    if not found:
        others = [path.name for path in find(root, "*.csv")]
        raise InputError(f"--root: got {root} with {', '.join(others) or 'no table'}, expected {WHERE}")
    return sorted(found[0].parent.glob("*.csv")) if as_published else found[:1]


def _read(path: Path, problems: Problems, tell: Tell) -> dict[str, Array]:
    """Return the columns of one site: year, month, day, hour, the loads and OT."""
    dated = "date" in header_of(path)
    numbers = (*FEATURES, "OT") if dated else (*TIME, *FEATURES, "OT")
    table = read_table(path, numbers, ("date",) if dated else (), problems=problems)
    rows = len(table)
    table = months.valid_hours(_with_times(table, problems) if dated else table, problems)
    for name in (*FEATURES, "OT"):
        gaps = runs(np.isnan(table.numbers[name]))
        for start, stop in gaps[:MOST_GAPS]:
            problems.add(path, f"{name} is missing for {stop - start} rows, which are masked", int(table.lines[start]))
        if len(gaps) > MOST_GAPS:
            problems.add(path, f"{name} is missing in {len(gaps) - MOST_GAPS} more places, which are masked")
    tell(f"{path.name}: {len(table)} hours")
    if path.name.lower() == "etth1.csv":
        if rows != ROWS:
            problems.add(path, f"got {rows} rows, expected {ROWS}: {WHERE}")
        elif hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != MD5:
            tell(f"{path.name}: is not the public file byte for byte (md5 {MD5})")
    return table.numbers


def _with_times(table: Table, problems: Problems) -> Table:
    """Return the table with columns year, month, day, hour taken from its dates; rows without one are left out.

    Raises: InputError if a row is not on a full hour: that is another set.
    """
    good: list[int] = []
    times: list[tuple[int, int, int, int]] = []
    for row, text in enumerate(table.words["date"]):
        line = int(table.lines[row])
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            problems.add(table.path, f"got date {text[:40]!r}, expected 2016-07-01 00:00:00; the row is left out", line)
            continue
        if when.minute or when.second:
            raise InputError(f"{table.path}:{line}: got {text}, expected full hours (ETTm1 and ETTm2 are other sets)")
        good.append(row)
        times.append((when.year, when.month, when.day, when.hour))
    columns = np.array(times, np.float64).reshape(-1, 4).T
    kept = table.select(np.array(good, np.int64))
    return replace(kept, numbers=kept.numbers | dict(zip(TIME, columns, strict=True)))
