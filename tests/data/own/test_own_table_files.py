"""Tables are read whatever their dialect, and every line that cannot be used is named by its number."""

import csv
import io
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsda.data.own import table_files
from diffsda.data.own.table_files import MOST_TOLD, read_table
from diffsda.data.problems import Problems


def read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    problems = Problems()
    table = read_table(path, path.stem, problems)
    return table, [str(problem).removeprefix(str(path)) for problem in problems]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_any_usual_dialect_is_read(tmp_path, delimiter, encoding, ending):
    lines = [["id", "when it was", "höhe"], ["a", "1", "2.5"], ["b", "2", "é"]]
    text = ending.join(delimiter.join(line) for line in lines) + ending
    table, said = read(tmp_path / "t.csv", text.encode(encoding))
    assert table.names == ("id", "when it was", "höhe")
    assert table.rows.to_pydict() == {"id": ["a", "b"], "when it was": ["1", "2"], "höhe": ["2.5", "é"]}
    assert table.lines.tolist() == [2, 3]
    assert table.decimal_comma is (delimiter != ",")
    assert not said


def test_rows_of_another_width_are_named_and_left_out(tmp_path):
    text = '# made by hand\n\nid;"two\nlines"\n1;2,5\n\n1;2;3\n"5\n";6\n7\n8;9\n"1\r\n\r\n2";3;4\n8;9'
    table, said = read(tmp_path / "t.csv", text)
    assert table.lines.tolist() == [5, 8, 11, 15]
    assert table.rows["id"].to_pylist() == ["1", "5\n", "8", "8"]
    assert said == [
        ":7: got 3 cells, expected 2; the row is left out",
        ":10: got 1 cells, expected 2; the row is left out",
        ":12: got 3 cells, expected 2; the row is left out",
    ]


def test_a_million_wrong_rows_are_not_a_million_words(tmp_path):
    table, said = read(tmp_path / "t.csv", "a,b\n1,2\n" + "1,2,3\n" * 500)
    assert len(table) == 1
    assert len(said) == MOST_TOLD + 1
    assert said[-1] == f": rows of another width: {500 - MOST_TOLD} more lines besides these"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty"),
        (" \n ", "is empty"),
        (b"\x00\x01\x02", "is no text"),
        ("a,b\n", "no usable rows"),
        ("a,b", "no usable rows"),
        ("a,b\n,\n\n", "no usable rows"),
        ("a,a\n1,2\n", "two columns called 'a'"),
        ("1,2\n3,4\n", "its first line holds 1, 2, expected the names"),
        ('"' + "x" * 200_000, "is a quote not closed"),
        (b"PK\x03\x04" + bytes(50), "is no text"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(tmp_path, content, reason):
    table, said = read(tmp_path / "t.csv", content)
    assert table is None
    assert len(said) == 1
    assert reason in said[0]
    assert "\n" not in said[0]


def test_parquet_is_read_and_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "v": [1.0, None]}), path)
    content = path.read_bytes()
    table, said = read(path, content)
    assert table.rows.to_pydict() == {"id": ["a", "b"], "v": [1.0, None]}
    assert (table.lines.tolist(), said) == ([1, 2], [])
    for broken in (content[:-20], b"", b"PAR1" + bytes(100)):
        table, said = read(path, broken)
        assert table is None
        assert "cannot be read as Parquet" in said[0]


def test_a_file_that_is_not_there_is_a_problem_and_no_error(tmp_path):
    problems = Problems()
    assert read_table(tmp_path / "none.csv", "none", problems) is None
    assert "No such file" in str(next(iter(problems)))


CELLS = st.text(string.ascii_letters + string.digits + ' ,;|\t"\n.-äé', max_size=8)


@given(
    names=st.lists(st.text(string.ascii_letters, min_size=1, max_size=5), min_size=2, max_size=5, unique=True),
    data=st.data(),
    delimiter=st.sampled_from(",;\t|"),
)
def test_what_a_csv_writer_writes_comes_back(tmp_path_factory, names, data, delimiter):
    row = st.lists(CELLS, min_size=len(names), max_size=len(names)).filter(lambda cells: any(cells))
    rows = data.draw(st.lists(row, min_size=3, max_size=12))
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(names)
    lines, at = [], 2
    for cells in rows:
        writer.writerow(cells)
        lines.append(at)
        at += 1 + sum(cell.count("\n") for cell in cells)
    table, said = read(tmp_path_factory.getbasetemp() / "t.csv", text.getvalue())
    assert not said
    assert [list(cells) for cells in zip(*table.rows.to_pydict().values())] == rows
    assert table.lines.tolist() == lines


@given(content=st.binary(max_size=200))
def test_no_bytes_end_in_a_traceback(tmp_path_factory, content):
    table, said = read(tmp_path_factory.getbasetemp() / "t.csv", content)
    assert (table is None) <= bool(said)


@given(text=st.text('a,;"\n\r\t1|# ', max_size=60))
def test_no_text_ends_in_a_traceback(tmp_path_factory, text):
    table, said = read(tmp_path_factory.getbasetemp() / "t.csv", "id,v\n" + text)
    assert table is not None or said
    if table is not None:
        assert len(table.lines) == len(table)
        assert (table.lines[1:] > table.lines[:-1]).all()


def test_missing_pyarrow_names_the_pip_line(tmp_path, monkeypatch):
    import sys

    from diffsda.errors import MissingPackage

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackage, match=r"pip install 'diffsda\[tables\]'"):
        table_files.arrow()
