"""Miniature downloads of the three series, in each set's own format."""

from datetime import datetime, timedelta

import numpy as np

AIR_HEAD = (
    '"No","year","month","day","hour","PM2.5","PM10","SO2","NO2","CO","O3","TEMP","PRES","DEWP","RAIN","wd","WSPM",'
    '"station"'
)
LOADS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL")
OUTCOMES_HEAD = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"


def hours(start, count):
    return [start + timedelta(hours=i) for i in range(count)]


def air_value(station, when, column):
    """A number that says where it comes from: station, month and hour of the month."""
    return station + when.month / 10 + (when.day - 1) * 24 + when.hour + column / 100


def air_station(root, number, name, spans, missing=()):
    """Write a station's table; spans of (start, hours), missing as (when, column) written NA."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [AIR_HEAD]
    for when in (when for start, count in spans for when in hours(start, count)):
        values = ["NA" if (when, c) in missing else f"{air_value(number, when, c):.2f}" for c in range(11)]
        row = [len(lines), when.year, when.month, when.day, when.hour, *values[:10], '"NNW"', values[10], f'"{name}"']
        lines.append(",".join(map(str, row)))
    path = root / f"PRSA_Data_{name}_20130301-20170228.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def transformer(root, name="ETTh1.csv", start=datetime(2016, 7, 1), count=17_420, *, split=False, offset=0.0):
    """Write a transformer's table: the public one, or the authors' with columns year, month, day and hour."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [",".join((("year", "month", "day", "hour") if split else ("date",)) + LOADS + ("OT",))]
    for i, when in enumerate(hours(start, count)):
        at = f"{when.year},{when.month},{when.day},{when.hour}" if split else f"{when:%Y-%m-%d %H:%M:%S}"
        loads = [f"{offset + (when.day - 1) * 24 + when.hour + c * 1000:.3f}" for c in range(6)]
        lines.append(f"{at},{','.join(loads)},{offset + i / 100:.2f}")
    path = root / name
    path.write_text("\n".join(lines) + "\n")
    return path


def clock(minute):
    return f"{minute // 60:02d}:{minute % 60:02d}"


def record(root, number, rows, static=None):
    """Write a record; rows of (minute, parameter, value)."""
    folder = root / "set-a"
    folder.mkdir(parents=True, exist_ok=True)
    known = {"Age": 54, "Gender": 0, "Height": 170.2, "ICUType": 3, "Weight": 80.5} | (static or {})
    lines = ["Time,Parameter,Value", f"00:00,RecordID,{number}"]
    lines += [f"00:00,{name},{value}" for name, value in known.items()]
    lines += [f"{clock(minute)},{name},{value}" for minute, name, value in rows]
    path = folder / f"{number}.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


VITALS = {
    "DiasABP": 60,
    "GCS": 14,
    "HCT": 30,
    "MAP": 80,
    "NIDiasABP": 58,
    "NIMAP": 78,
    "NISysABP": 118,
    "RespRate": 18,
    "SysABP": 120,
    "Temp": 37,
}


def full_record(root, number, last=47 * 60 + 30, **change):
    """Write a record whose every vital sign is taken each half hour; a value drifts with the hour."""
    draw = np.random.default_rng(number)
    rows = [
        (minute, name, round(value + minute / 600 + draw.normal(), 2))
        for minute in range(7, last + 1, 30)
        for name, value in VITALS.items()
    ]
    return record(root, number, rows, **change)


def challenge(root, numbers, outcomes=None):
    """Write records and their outcomes."""
    for number in numbers:
        full_record(root, number)
    lines = [OUTCOMES_HEAD, *(f"{n},{n % 20},{n % 9},5,-1,{n % 2}" for n in (outcomes or numbers))]
    (root / "Outcomes-a.txt").write_text("\n".join(lines) + "\n")
    return root
