"""Whatever a table holds, it becomes a set that opens, or is refused in one line."""

import shutil

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from diffsda.data.own.prepare import prepare_own
from diffsda.data.own.settings import Settings
from diffsda.data.problems import Problems
from diffsda.data.registry import open_clips
from diffsda.errors import InputError

CELL = st.sampled_from(
    ["1", "2", "3.5", "-7e3", "1e300", "", "NaN", "x", "y", "inf", "2024-01-02", "03/04/2024", "true"]
)
NAMES = ["id", "time", "a", "b", "date", "month", "day", "year", "word", "index"]


@given(
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True),
    data=st.data(),
    frames=st.sampled_from([None, 2, 5]),
)
def test_any_table_is_a_set_or_refused_in_a_line(tmp_path_factory, names, data, frames):
    rows = data.draw(st.lists(st.lists(CELL, min_size=len(names), max_size=len(names)), min_size=1, max_size=40))
    repeat = data.draw(st.integers(1, 4))
    folder = tmp_path_factory.getbasetemp() / "any"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    lines = [",".join(names), *(",".join(row) for row in rows * repeat)]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    problems, refused, made = Problems(), None, None
    ask = Settings(source=folder / "t.csv", name="t", frames=frames)
    try:
        made = prepare_own(ask, folder / "out", problems=problems)
    except InputError as error:
        refused = str(error)
    if made is None:
        assert refused
        assert "\n" not in refused
        assert not (folder / "out" / "dataset.json").exists()
        return
    total = 0
    for split, count in made.dataset.splits.items():
        clips = open_clips(folder / "out", split)
        assert len(clips) == count
        assert clips.x.shape[2] == made.dataset.channels
        assert np.isfinite(clips.x).all()
        total += count
    assert total >= 1
    assert all(0 <= (problem.line or 1) <= len(lines) for problem in problems)
    assert np.isfinite(made.dataset.statistics).all()
