"""Tables are read by their header; what is wrong is told with its line and the rest is kept."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsda.data.problems import Problems
from diffsda.data.series import tables
from diffsda.data.series.tables import longest_run, read_table, runs
from diffsda.errors import InputError


def table(tmp_path, text, numbers=("a", "b"), words=(), encoding="utf-8"):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    problems = Problems()
    return read_table(path, numbers, words, problems=problems), [(p.line, p.reason) for p in problems]


def test_columns_are_found_by_name_wherever_they_stand(tmp_path):
    for text in (
        "a,b,site\n1,2,x\n3,4,y\n",
        'site,"b",extra,a\nx,2,9,1\ny,4,9,3\n',
        "\ufeffb, a ,site\r\n2,1,x\r\n4,3,y\r\n",
    ):
        read, trouble = table(tmp_path, text, words=("site",))
        assert read.numbers["a"].tolist() == [1, 3]
        assert read.numbers["b"].tolist() == [2, 4]
        assert read.words["site"] == ["x", "y"]
        assert not trouble


def test_missing_values_are_nan_and_no_trouble(tmp_path):
    read, trouble = table(tmp_path, "a,b\n1,NA\n,2\nnan,\n")
    assert np.isnan(read.numbers["a"]).tolist() == [False, True, True]
    assert np.isnan(read.numbers["b"]).tolist() == [True, False, True]
    assert not trouble
    read, trouble = table(tmp_path, "a,b\nNA,NULL\n5,N/A\n")
    assert len(read) == 2
    assert not trouble


def test_bad_cells_and_rows_are_told_by_line(tmp_path):
    read, trouble = table(tmp_path, 'a,b\n1,2\n\n3,four\n5\n"6\n",7\n8,9,10\n11,inf\n')
    assert read.numbers["a"].tolist() == [1, 3, 6, 11]
    assert read.lines.tolist() == [2, 4, 7, 9]
    assert [line for line, _ in trouble] == [4, 5, 8, 9]
    assert "got b 'four', expected a number" in trouble[0][1]
    assert "got 1 fields, expected 2" in trouble[1][1]
    assert "got 3 fields, expected 2" in trouble[2][1]
    assert "got b 'inf'" in trouble[3][1]


def test_a_moved_schema_is_refused_with_what_was_found(tmp_path):
    with pytest.raises(InputError, match=r"t\.csv:1: got columns A, c, expected one called 'a'"):
        table(tmp_path, "A,c\n1,2\n")
    with pytest.raises(InputError, match="is 'humidty' it"):
        table(tmp_path, "humidty\n1\n", ("humidity",))
    with pytest.raises(InputError, match="2 columns 'a', expected one"):
        table(tmp_path, "a,a,b\n1,2,3\n")
    with pytest.raises(InputError, match="is empty"):
        table(tmp_path, "")


def test_bytes_that_are_no_text_spoil_their_cell_only(tmp_path):
    read, trouble = table(tmp_path, b"a,b\n1,2\n\xff\xfe,3\n4,5\n")
    assert read.numbers["b"].tolist() == [2, 3, 5]
    assert [line for line, _ in trouble] == [3]


def test_another_kind_of_file_is_given_up_early(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MOST", 5)
    with pytest.raises(InputError, match="more than 5 lines"):
        table(tmp_path, "a,b\n" + "x,1\n" * 1000)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_table(tmp_path / "none.csv", ("a",), problems=Problems())
    with pytest.raises(InputError, match="cannot be read as a table"):
        table(tmp_path, 'a,b\n"' + "x" * 200_000 + '",1\n')


def test_runs_of_missing_values(tmp_path):
    assert runs(np.array([0, 1, 1, 0, 1], bool)) == [(1, 3), (4, 5)]
    assert runs(np.zeros(3, bool)) == []
    read, _ = table(tmp_path, "a,b\n1,1\n,2\n,3\n4,\n")
    assert longest_run(read, ("a", "b")).endswith("t.csv:3: a is missing for 2 rows, the longest run")
    assert longest_run(read.select(np.array([0])), ("a", "b")) is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2), max_size=20))
def test_what_is_written_is_read(tmp_path_factory, rows):
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b"], *rows])
    read, trouble = table(tmp_path_factory.mktemp("t"), text.getvalue())
    assert not trouble
    assert np.array_equal(read.numbers["a"], [row[0] for row in rows])
    assert np.array_equal(read.numbers["b"], [row[1] for row in rows])


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=120))
def test_no_bytes_make_it_fail_in_another_way(tmp_path_factory, rubbish):
    said = ""
    try:
        read, trouble = table(tmp_path_factory.mktemp("t"), b"a,b\n" + rubbish)
        assert len(read) == len(read.numbers["a"]) == len(read.numbers["b"])
        assert np.all(np.isfinite(read.numbers["a"]) | np.isnan(read.numbers["a"]))
        assert all(line > 1 for line, _ in trouble)
    except InputError as error:
        said = str(error)
    assert "\n" not in said
