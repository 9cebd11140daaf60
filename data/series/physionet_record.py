"""One patient of PhysioNet 2012: the text file, and its hours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffsda.data.check import Array
from diffsda.data.problems import Problems
from diffsda.data.series.parts import read_lines
from diffsda.data.series.physionet_clean import clean
from diffsda.errors import InputError

STATIC = ("RecordID", "Age", "Gender", "Height", "ICUType", "Weight")
"""What stands at time 00:00 once, and is no measurement there."""
_MOST_HOURS = 1000


@dataclass(frozen=True)
class Record:
    """What was noted of a patient."""

    id: int
    static: dict[str, float]
    """Age, Gender, Height, ICUType, Weight, cleaned; NaN where not known."""
    minutes: Array
    """(M,) int64: when a measurement was taken, in minutes after admission."""
    names: list[str]
    """(M): what was measured."""
    values: Array
    """(M,) float64, as they stand in the file."""


def read_record(path: Path, problems: Problems) -> Record:
    """Read a record: lines of time, parameter and value after a header.

    A line that is not so is noted with its number and left out.
    Raises: InputError if the file cannot be read, has another header or no record id.
    """
    lines = read_lines(path)
    header = lines[0].strip().lstrip("\ufeff") if lines else ""
    if header.lower() != "time,parameter,value":
        raise InputError(f"{path}:1: got {header[:60]!r}, expected Time,Parameter,Value")
    static: dict[str, float] = {}
    minutes, names, values = [], [], []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        try:
            minute, name, value = _line(line)
        except ValueError as error:
            problems.add(path, f"{error}; the line is left out", number)
            continue
        if minute == 0 and name in STATIC:
            if static.setdefault(name, value) != value:
                problems.add(path, f"got {name} {value:g} again, first {static[name]:g}; left out", number)
            continue
        minutes.append(minute)
        names.append(name)
        values.append(value)
    if "RecordID" not in static or static["RecordID"] != int(static["RecordID"]):
        raise InputError(f"{path}: got no line 00:00,RecordID,<number>")
    return Record(
        id=int(static["RecordID"]),
        static={name: float(clean(name, np.array([static.get(name, math.nan)]))[0]) for name in STATIC[1:]},
        minutes=np.array(minutes, np.int64),
        names=names,
        values=np.array(values, np.float64),
    )


def _line(line: str) -> tuple[int, str, float]:
    """Return minute, parameter and value. Raises: ValueError with what is wrong."""
    fields = line.split(",")
    if len(fields) != 3:
        raise ValueError(f"got {len(fields)} fields, expected time, parameter and value")
    clock, name, text = (field.strip() for field in fields)
    hours, colon, rest = clock.partition(":")
    if not colon or not hours.isdecimal() or not rest.isdecimal() or len(hours) > 4 or not int(rest[:4]) < 60:
        raise ValueError(f"got time {clock[:20]!r}, expected hours:minutes")
    if int(hours) > _MOST_HOURS:
        raise ValueError(f"got time {clock[:20]!r}, expected at most {_MOST_HOURS} hours")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # Lines without a parameter stand in the files as they were published; only their time says something.
    if name and not math.isfinite(value):
        raise ValueError(f"got {name[:20]} {text[:20]!r}, expected a number")
    return int(hours) * 60 + int(rest), name, value


def hourly(record: Record, features: tuple[str, ...], *, as_published: bool = False) -> Array:
    """Return the mean of each feature in each hour: (hours, F) float64, NaN where nothing was measured.

    Hours are counted from the first measurement of any kind to the last.
    as_published: an hour holds what lies after its beginning up to its end, so that what was taken at the very first
    minute is in none; the last, incomplete hour is dropped; and values that share their minute with several readings
    of another parameter count as often as those are many (the authors join tables before they average).
    """
    if not len(record.minutes):
        return np.zeros((0, len(features)))
    since = record.minutes - record.minutes.min()
    names = np.array(record.names)
    weight = np.ones(len(since))
    if as_published:
        hour = -(-since // 60) - 1
        count = max(-(-int(since.max()) // 60) - 1, 0)
        weight = _join_weights(since, names)
    else:
        hour, count = since // 60, int(since.max()) // 60 + 1
    out = np.full((count, len(features)), np.nan)
    for place, name in enumerate(features):
        mine = names == name
        values = clean(name, record.values[mine])
        at, by = hour[mine], weight[mine]
        kept = np.isfinite(values) & (at >= 0) & (at < count)
        seen = np.bincount(at[kept], by[kept], count)
        total = np.bincount(at[kept], by[kept] * values[kept], count)
        out[:, place] = np.where(seen > 0, total / np.where(seen > 0, seen, 1), np.nan)
    return out


def _join_weights(minutes: Array, names: Array) -> Array:
    """Return how many rows each value stands in, once all parameters are joined on their minute."""
    _, which = np.unique(names, return_inverse=True)
    _, pair, count = np.unique(np.stack([minutes, which]), axis=1, return_inverse=True, return_counts=True)
    pair = pair.reshape(-1)
    _, minute = np.unique(minutes, return_inverse=True)
    of_pair = np.zeros(len(count), np.int64)
    of_pair[pair] = minute
    rows = np.ones(int(minute.max()) + 1)
    np.multiply.at(rows, of_pair, count)
    return rows[minute] / count[pair]
