"""PhysioNet/CinC Challenge 2012: two days of vital signs of patients in intensive care."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from diffsda.data.check import Array
from diffsda.data.prepared import Dataset
from diffsda.data.problems import Problems
from diffsda.data.series.parts import Parts, Tell, find, note, part, shuffled, silent
from diffsda.data.series.physionet_record import STATIC, hourly, read_record
from diffsda.data.series.tables import Table, read_table
from diffsda.data.series.zscore import zscore
from diffsda.data.stream import Watch, unwatched
from diffsda.errors import InputError

FEATURES = ("DiasABP", "GCS", "HCT", "MAP", "NIDiasABP", "NIMAP", "NISysABP", "RespRate", "SysABP", "Temp")
HOURS = 80
"""Hours of a clip; records have 48 at most, the rest is padding."""
LEAST_HOURS, MOST_MISSING = 40, 0.6
RECORDS = 4000
"""Records of set-a."""
OUTCOMES = ("SAPS-I", "SOFA", "In-hospital_death")
UNITS = ("coronary care unit", "cardiac surgery recovery unit", "medical ICU", "surgical ICU")
WHERE = (
    "PhysioNet challenge-2012 1.0.0: folder set-a (unpack set-a.tar.gz or set-a.zip) and Outcomes-a.txt beside it "
    "(Open Data Commons Attribution 1.0)"
)

Stay = tuple[int, dict[str, float], Array]
"""A record's id, what is known of the patient, and hours (V, F + 1): the features and MechVent."""


def build(
    root: Path,
    *,
    problems: Problems,
    seed: int = 0,
    as_published: bool = False,
    tell: Tell = silent,
    watch: Watch = unwatched,
) -> tuple[Dataset, Parts]:
    """Read the records and make the clips of all parts.

    Shapes: x (N, 80, 10) hourly means, z-scored, 0 where missing; mask like x, 1 = missing (padding too); lengths (N,).
    Labels, -1 = not known: record (the id), gender (0 female, 1 male), icu_type, death, saps_i, sofa (N,), mech_vent
    (N, 80). Age in years, height in cm and weight in kg (N,) float32, NaN where not known, go along.
    A record of fewer than 40 hours or with more than 60 % of its values missing is left out. By record id the first
    20 % are the test part, 80 % of the others, in the authors' shuffled order, are for training.
    The authors' own tables (processed_df.csv, processed_static_df.csv) are read where the records are not there.
    as_published: hours as the authors cut and average them (see ``hourly``), and no lengths: the encoder sees padding.
    Raises: InputError if neither is there, or nothing is left.
    """
    folders = find(root, "set-a")
    tables = [] if folders else find(root, "processed_df.csv")
    if folders:
        place = folders[0].parent
        stays = list(_records(folders[0], problems, as_published, watch))
    elif tables:
        place = tables[0].parent
        stays = list(_tables(tables[0], problems))
    else:
        raise InputError(f"--root: got {root} without a folder set-a, expected {WHERE}")
    tell(f"{len(stays)} records")
    if len(stays) < RECORDS and folders:
        problems.add(folders[0], f"got {len(stays)} records, expected {RECORDS}: {WHERE}")
    stays = [stay for stay in sorted(stays, key=lambda stay: stay[0]) if _enough(stay[2])]
    tell(f"{len(stays)} of them have {LEAST_HOURS} hours and {1 - MOST_MISSING:.0%} of their values")
    if not stays:
        raise InputError(f"--root: got {root} without a record of {LEAST_HOURS} hours, expected {WHERE}")
    held = _arrays(stays) | _outcomes(place / "Outcomes-a.txt", [stay[0] for stay in stays], problems)
    return _parts(held, seed, as_published, "records" if folders else "processed_df.csv")


def _parts(held: dict[str, Array], seed: int, as_published: bool, read: str) -> tuple[Dataset, Parts]:
    count = len(held["x"])
    first = int(0.2 * count)
    order = shuffled(range(first, count), seed)
    fit = int(0.8 * len(order))
    splits = {"train": order[:fit], "val": order[fit:], "test": list(range(first))}
    x, statistics = zscore(held["x"], held["mask"] == 0, np.array(splits["train"], np.int64))
    held = held | {"x": x}
    if as_published:
        del held["lengths"]
    options: dict[str, Any] = {"as_published": as_published, "seed": seed, "features": list(FEATURES), "read": read}
    dataset = Dataset(
        kind="arrays",
        name="physionet",
        modality="series",
        frames=HOURS,
        channels=len(FEATURES),
        splits={"train": fit},
        label_names={
            "gender": ("female", "male"),
            "icu_type": UNITS,
            "death": ("survived", "died in hospital"),
            "mech_vent": ("not ventilated", "ventilated"),
        },
        statistics=((0.0,) * len(FEATURES), (1.0,) * len(FEATURES)),
        options=options | {"raw_mean": list(statistics[0]), "raw_std": list(statistics[1])},
        source="PhysioNet/Computing in Cardiology Challenge 2012, set-a",
        licence="Open Data Commons Attribution License 1.0",
        citation="Silva, Moody, Scott, Celi, Mark: Predicting in-hospital mortality of ICU patients: the "
        "PhysioNet/Computing in Cardiology Challenge 2012. Computing in Cardiology 39, 2012",
    )
    return dataset, part(held, splits)


def _enough(hours: Array) -> bool:
    return len(hours) >= LEAST_HOURS and float(np.isnan(hours[:, :-1]).mean()) <= MOST_MISSING


def _arrays(stays: list[Stay]) -> dict[str, Array]:
    """Return the clips, padded to 80 hours, and what is known of the patients."""
    count = len(stays)
    x = np.full((count, HOURS, len(FEATURES)), np.nan)
    ventilated = np.full((count, HOURS), -1, np.int64)
    lengths = np.zeros(count, np.int64)
    for row, (_, _, hours) in enumerate(stays):
        kept = hours[:HOURS]
        lengths[row] = len(kept)
        x[row, : len(kept)] = kept[:, :-1]
        ventilated[row, : len(kept)] = np.nan_to_num(kept[:, -1]) > 0
    known = {name: np.array([stay[1].get(name, np.nan) for stay in stays]) for name in STATIC[1:]}
    return {
        "x": np.nan_to_num(x),
        "mask": np.isnan(x).astype(np.uint8),
        "lengths": lengths,
        "record": np.array([stay[0] for stay in stays], np.int64),
        "gender": _label(known["Gender"], 1),
        "icu_type": _label(known["ICUType"] - 1, len(UNITS) - 1),
        "mech_vent": ventilated,
        "age": known["Age"].astype(np.float32),
        "height": known["Height"].astype(np.float32),
        "weight": known["Weight"].astype(np.float32),
    }


def _label(values: Array, most: float = np.inf) -> Array:
    """Return whole numbers from 0 to the most, -1 for anything else."""
    good = (values >= 0) & (values <= most) & (values == np.floor(values))
    return np.where(good, np.nan_to_num(values), -1).astype(np.int64)


def _records(folder: Path, problems: Problems, as_published: bool, watch: Watch) -> Iterable[Stay]:
    """Yield what the text files hold; a file that cannot be read and a record that came before are noted."""
    paths = sorted(folder.glob("*.txt"))
    seen: dict[int, Path] = {}
    for path in watch(paths, len(paths), "records"):
        try:
            record = read_record(path, problems)
        except InputError as error:
            note(problems, path, error)
            continue
        if seen.setdefault(record.id, path) != path:
            problems.add(path, f"got record {record.id} again, first in {seen[record.id].name}; left out")
            continue
        yield record.id, record.static, hourly(record, (*FEATURES, "MechVent"), as_published=as_published)


def _tables(path: Path, problems: Problems) -> Iterable[Stay]:
    """Yield what the authors' processed tables hold."""
    table = read_table(path, ("recordid", *FEATURES, "MechVent"), problems=problems)
    static = read_table(path.with_name("processed_static_df.csv"), STATIC, problems=problems)
    rows = {int(id): row for row, id in enumerate(static.numbers["RecordID"]) if np.isfinite(id)}
    values = np.stack([table.numbers[name] for name in (*FEATURES, "MechVent")], 1)
    ids = np.nan_to_num(table.numbers["recordid"], nan=-1).astype(np.int64)
    for id in np.unique(ids[ids >= 0]):
        if int(id) not in rows:
            problems.add(static.path, f"got no record {id}; what is known of the patient is left out")
        known = {name: float(static.numbers[name][rows[int(id)]]) for name in STATIC[1:]} if int(id) in rows else {}
        yield int(id), known, values[ids == id]


def _outcomes(path: Path, ids: list[int], problems: Problems) -> dict[str, Array]:
    """Return the labels that stand in the outcomes; -1, and a note, where there are none."""
    table: Table | None = None
    try:
        table = read_table(path, ("RecordID", *OUTCOMES), problems=problems)
    except InputError as error:
        note(problems, path, error, "; outcomes are left out")
    of: dict[int, int] = {}
    if table is not None:
        for row, id in enumerate(table.numbers["RecordID"]):
            if np.isfinite(id) and of.setdefault(int(id), row) != row:
                first = int(table.lines[of[int(id)]])
                problems.add(path, f"got record {int(id)} again, first on line {first}", int(table.lines[row]))
        lost = [id for id in ids if id not in of]
        if len(lost) == len(ids):
            problems.add(path, "got no outcome of any record, expected those of set-a")
        else:
            for id in lost:
                problems.add(path, f"got no outcome of record {id}")
    out = {name: np.full(len(ids), np.nan) for name in OUTCOMES}
    for place, id in enumerate(ids):
        for name in OUTCOMES:
            if table is not None and id in of:
                out[name][place] = table.numbers[name][of[id]]
    return {
        "saps_i": _label(out["SAPS-I"]),
        "sofa": _label(out["SOFA"]),
        "death": _label(out["In-hospital_death"], 1),
    }
