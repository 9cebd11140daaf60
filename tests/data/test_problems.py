"""Trouble is told once, kept beside the set, and gone from there when it is gone."""

import json

from diffsda.data.problems import Problems


def test_problems_are_told_and_kept(tmp_path):
    said = []
    problems = Problems(said.append)
    problems.add(tmp_path / "a.csv", "got 3 columns,\n  expected 4", line=7)
    problems.add("b.mp4", "is empty")
    problems.add("b.mp4", "is empty")
    assert said == [f"{tmp_path}/a.csv:7: got 3 columns, expected 4", "b.mp4: is empty"]
    assert len(problems) == 2
    assert [p.line for p in problems] == [7, None]
    problems.write(tmp_path)
    lines = (tmp_path / "problems.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {"path": "b.mp4", "reason": "is empty", "line": None}


def test_a_clean_run_leaves_no_list(tmp_path):
    (tmp_path / "problems.jsonl").write_text("old\n")
    Problems().write(tmp_path)
    assert not (tmp_path / "problems.jsonl").exists()
