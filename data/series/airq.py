"""Beijing multi-site air quality: twelve stations, hourly, March 2013 to February 2017."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diffsda.data.check import Array
from diffsda.data.prepared import Dataset
from diffsda.data.problems import Problems
from diffsda.data.series import months
from diffsda.data.series.parts import Parts, Tell, find, note, part, silent
from diffsda.data.series.tables import Table, longest_run, read_table
from diffsda.data.series.zscore import zscore
from diffsda.data.stream import Watch, unwatched
from diffsda.errors import InputError

FEATURES = ("PM2.5", "PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "WSPM")
TIME = ("year", "month", "day", "hour")
STATIONS = 12
FIT, TEST = (2013, 2014, 2015, 2017), (2016,)
YEARS = (2013, 2014, 2015, 2016, 2017)
SHIFT = 24 * 24
"""Hours by which the authors' code turns the signals, and not what belongs to them."""
WHERE = (
    "Beijing Multi-Site Air Quality, UCI data set 501: PRSA2017_Data_20130301-20170228.zip, twelve files "
    "PRSA_Data_<station>_20130301-20170228.csv (CC BY 4.0)"
)


def build(
    root: Path,
    *,
    problems: Problems,
    seed: int = 0,
    as_published: bool = False,
    tell: Tell = silent,
    watch: Watch = unwatched,
) -> tuple[Dataset, Parts]:
    """Read the stations' tables and make the clips of all parts.

    Shapes: x (N, 672, 10) z-scored, 0 where missing; mask like x; labels year, month, station (N,), day (N, 672);
    rain (N, 672) float32 in mm, NaN where missing, goes along and is no input.
    A clip is the first 672 hours of a month at a station. 2016 is the test part; of the other months 85 % train.
    as_published: the signals are turned by 576 hours, mask and labels are not.
    Differs from the authors' code: stations are numbered by name, hours go where their date says (the same for the
    files as published).
    Raises: InputError if no table is found.
    """
    tables = _read(root, problems, tell, watch)
    stations = sorted(tables)
    clips: list[dict[str, Array]] = []
    chosen: list[months.Month] = []
    for place, station in enumerate(stations):
        table = tables[station]
        whole, short = months.months({name: table.numbers[name] for name in TIME}, place)
        for month in short:
            tell(f"{station} {month.year}-{month.month:02}: fewer than {months.HOURS} hours, left out")
        if whole:
            x = months.gather(np.stack([table.numbers[name] for name in FEATURES], 1), whole)
            held = {"x": x, "rain": months.gather(table.numbers["RAIN"], whole).astype(np.float32)}
            clips.append(held | {"day": np.nan_to_num(months.gather(table.numbers["day"], whole), nan=-1)})
            chosen += whole
    if not chosen:
        raise InputError(f"--root: got {root} without a month of {months.HOURS} hours, expected {WHERE}")
    # The authors' order: by year, month and station.
    order = sorted(range(len(chosen)), key=lambda i: (chosen[i].year, chosen[i].month, chosen[i].place))
    joined = {name: np.concatenate([held[name] for held in clips])[order] for name in clips[0]}
    return _parts(joined, [chosen[i] for i in order], stations, seed, as_published)


def _parts(
    joined: dict[str, Array], chosen: list[months.Month], stations: list[str], seed: int, as_published: bool
) -> tuple[Dataset, Parts]:
    splits = months.by_year(chosen, FIT, TEST, seed)
    known = ~np.isnan(joined["x"])
    x, statistics = zscore(joined["x"], known, np.array(splits["train"], np.int64))
    held = {
        "x": np.roll(x, -SHIFT, axis=1) if as_published else x,
        "mask": (~known).astype(np.uint8),
        "year": np.array([YEARS.index(m.year) if m.year in YEARS else -1 for m in chosen]),
        "month": np.array([m.month - 1 for m in chosen]),
        "station": np.array([m.place for m in chosen]),
        "day": joined["day"].astype(np.int64),
        "rain": joined["rain"],
    }
    options: dict[str, Any] = {"as_published": as_published, "seed": seed, "features": list(FEATURES)}
    dataset = Dataset(
        kind="arrays",
        name="airq",
        modality="series",
        frames=months.HOURS,
        channels=len(FEATURES),
        splits={"train": len(splits["train"])},
        label_names={"year": tuple(map(str, YEARS)), "month": months.NAMES, "station": tuple(stations)},
        statistics=((0.0,) * len(FEATURES), (1.0,) * len(FEATURES)),
        options=options | {"raw_mean": list(statistics[0]), "raw_std": list(statistics[1])},
        source="Beijing Multi-Site Air Quality (UCI 501)",
        licence="CC BY 4.0",
        citation="Zhang, Guo, Dong, He, Xu, Chen: Cautionary tales on air-quality improvement in Beijing. "
        "Proceedings of the Royal Society A 473, 2017",
    )
    return dataset, part(held, splits)


def _read(root: Path, problems: Problems, tell: Tell, watch: Watch) -> dict[str, Table]:
    """Return the tables by station; what cannot be used is noted."""
    paths = find(root, "PRSA_Data_*.csv") or find(root, "*.csv")
    if not paths:
        raise InputError(f"--root: got {root} without a table, expected {WHERE}")
    tables: dict[str, Table] = {}
    for path in watch(paths, len(paths), "stations"):
        try:
            table = read_table(path, (*TIME, *FEATURES, "RAIN"), ("station",), problems=problems)
        except InputError as error:
            note(problems, path, error)
            continue
        for station, rows in _by_station(table).items():
            if station in tables:
                problems.add(path, f"got station {station!r} again, first in {tables[station].path}; left out")
                continue
            tables[station] = months.valid_hours(table.select(rows), problems)
            if gap := longest_run(tables[station], FEATURES):
                tell(gap)
    tell(f"{len(tables)} stations, {sum(map(len, tables.values()))} hours")
    if len(tables) != STATIONS:
        problems.add(root, f"got {len(tables)} stations, expected {STATIONS}: {WHERE}")
    return tables


def _by_station(table: Table) -> dict[str, Array]:
    names = np.array(table.words["station"])
    return {str(name): np.flatnonzero(names == name) for name in dict.fromkeys(table.words["station"])}
