"""Tables that are there twice are used once: the same content is never on two sides."""

import pytest
from test_own_tables import prepare, series_of, table, walks

from diffsda.data.own.twins import Twins
from diffsda.data.problems import Problems


@pytest.mark.parametrize("seed", range(3))
def test_copies_of_tables_are_left_out(tmp_path, seed):
    folder = tmp_path / "mine"
    for i in range(12):
        rows = [(t, 100 * i + t) for t in range(9)]
        table(folder / f"{i:02}.csv", ("t", "a"), rows)
        table(folder / "copies" / f"{i:02}.csv", ("t", "a"), rows)
    made, said, _ = prepare(folder, tmp_path / "out", seed=seed)
    assert said == [f"/copies/{i:02}.csv: holds the same bytes as {i:02}.csv; left out" for i in range(12)]
    assert made.dataset.splits == {"train": 10, "val": 1, "test": 1}
    held = series_of(tmp_path / "out")
    assert sorted(held) == [f"{i:02}" for i in range(12)]
    assert len({values.tobytes() for [(_, values)] in held.values()}) == 12


def test_the_training_part_keeps_what_is_in_two_folders(tmp_path):
    for split, start in (("test", 0), ("train", 0), ("val", 9)):
        table(tmp_path / "mine" / split / "a.csv", ("id", "t", "a", "b"), walks(9, start=start))
    # In no split's folder, and first by name: it must not take the place of the one in train.
    table(tmp_path / "mine" / "loose.csv", ("id", "t", "a", "b"), walks(9))
    made, said, _ = prepare(tmp_path / "mine", tmp_path / "out")
    assert made.dataset.splits == {"train": 9, "val": 9}
    assert said == [f"/{name}.csv: holds the same bytes as train/a.csv; left out" for name in ("test/a", "loose")]


def test_copies_of_what_cannot_be_used_are_each_named(tmp_path):
    folder = tmp_path / "mine"
    table(folder / "a.csv", ("id", "t", "a", "b"), walks(9))
    for name in ("b", "c"):
        (folder / f"{name}.csv").write_bytes(b"PK\x03\x04" + bytes(50))
    _, said, _ = prepare(folder, tmp_path / "out")
    assert [line.partition(": ")[0] for line in said] == ["/b.csv", "/c.csv"]
    assert not any("same bytes" in line for line in said)


def test_files_that_cannot_be_read_are_nobodys_twins(tmp_path):
    problems = Problems()
    twins = Twins(tmp_path, problems)
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(tmp_path / "gone")
        assert not twins.again(tmp_path / name)
        twins.use(tmp_path / name)
    assert not len(problems)
