"""A run folder is read whole, and what is wrong with one is said in a line."""

import json
import shutil

import pytest

from diffsda.errors import CheckpointError, InputError
from diffsda.evaluate.record import Result
from diffsda.evaluate.result import Row
from diffsda.report.run import read_run

ROW = Row(metric="mse", values=(0.1, 0.2), unit="", better="lower")


@pytest.fixture
def run(series_run, tmp_path):
    """Return a copy of a run that may be spoilt."""
    return shutil.copytree(series_run, tmp_path / "run")


def result(path):
    """Write a result with one row."""
    path.parent.mkdir(exist_ok=True)
    Result(protocol="reconstruction", tables="3", about="a", data="series", rows=[ROW], seeds=(0, 1)).write(path)


def test_everything_in_it_is_found(run):
    result(run / "eval" / "b.json")
    result(run / "eval" / "a.json")
    held = read_run(run)
    assert held.recipe.name == "mini_series"
    assert held.weights.name == "weights-00000002.safetensors"
    assert (held.step, held.latest) == (2, 2)
    assert [record["step"] for record in held.log] == [1, 2]
    assert len(held.results) == 2
    assert held.results[0].rows[0].mean == pytest.approx(0.15)
    assert held.provenance["data"] == "series"
    assert "started" in held.provenance
    assert held.prior is None
    assert len(held.digest) == 64


def test_results_that_are_named_are_those_that_count(run, tmp_path):
    result(run / "eval" / "a.json")
    assert read_run(run, ()).results == []
    result(tmp_path / "other.json")
    assert len(read_run(run, (tmp_path / "other.json",)).results) == 1
    with pytest.raises(InputError, match="no such file"):
        read_run(run, (tmp_path / "none.json",))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("recipe.json", None, "holds no recipe.json"),
        ("recipe.json", "{", "cannot be read"),
        ("recipe.json", "[]", "got list"),
        ("recipe.json", '{"colour": 1}', "unknown setting 'colour'"),
        ("provenance.json", "{", "cannot be read"),
        ("eval/a.json", "{}", "is no result"),
    ],
)
def test_a_broken_file_is_named(run, name, text, said):
    (run / "eval").mkdir()
    if text is None:
        (run / name).unlink()
    else:
        (run / name).write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_run(run)
    assert "\n" not in str(caught.value)


def test_an_unfinished_run_is_told_from_a_broken_one(run, tmp_path):
    weights = run / "weights-00000002.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="truncated"):
        read_run(run)
    weights.unlink()
    with pytest.raises(InputError, match=r"no weights-\*.safetensors yet \(its log ends at step 2\)"):
        read_run(run)
    with pytest.raises(InputError, match="nothing there"):
        read_run(tmp_path / "none")
    with pytest.raises(InputError, match="got a file"):
        read_run(run / "recipe.json")


def test_parts_of_two_runs_are_refused(run):
    plain = json.loads((run / "recipe.json").read_text())
    plain["optim"]["seed"] = 4
    (run / "recipe.json").write_text(json.dumps(plain))
    with pytest.raises(InputError, match="expected files of one run"):
        read_run(run)


def test_a_log_that_is_missing_or_cut_is_no_reason_to_stop(run):
    text = (run / "log.jsonl").read_text()
    (run / "log.jsonl").write_text(text[: len(text) // 2 + 5])
    assert [record["step"] for record in read_run(run).log] == [1]
    (run / "log.jsonl").unlink()
    assert read_run(run).log == []
    assert read_run(run).latest is None
