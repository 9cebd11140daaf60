"""Pickled lists of names are read; nothing in a pickle is ever run."""

import contextlib
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsda.data.video.plain_pickle import read_names, read_pickle
from diffsda.errors import InputError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def kept(folder, data):
    path = folder / "list.pkl"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_what_it_was(tmp_path_factory, protocol):
    folder = tmp_path_factory.mktemp("pickles")

    @given(PLAIN)
    def whatever(value):
        assert read_pickle(kept(folder, pickle.dumps(value, protocol))) == value

    whatever()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_names_in_their_order(tmp_path, protocol):
    names = ["b.mp4", "a.mp4", "b.mp4", "\u00e9.mp4"]
    assert read_names(kept(tmp_path, pickle.dumps(names, protocol))) == names
    assert read_names(kept(tmp_path, pickle.dumps(tuple(names), protocol))) == names
    assert read_names(kept(tmp_path, pickle.dumps({"x": 1, "y": 2}, protocol))) == ["x", "y"]


def test_a_set_of_names_is_sorted(tmp_path):
    assert read_names(kept(tmp_path, pickle.dumps({"b", "a"}, 4))) == ["a", "b"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_run(tmp_path, protocol):
    mark = tmp_path / "mark"
    path = kept(tmp_path, pickle.dumps(["a", Evil(str(mark))], protocol))
    with pytest.raises(InputError, match=r"it wants (STACK_)?GLOBAL"):
        read_names(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists(), "the pickle would have run"


def test_what_is_no_list_of_names(tmp_path):
    for value in (3, [1, 2], ["a", None], "name"):
        with pytest.raises(InputError, match="expected a list of names"):
            read_names(kept(tmp_path, pickle.dumps(value)))
    with pytest.raises(InputError, match="No such file"):
        read_names(tmp_path / "gone.pkl")


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "huge.pkl"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 300 << 20)
    with pytest.raises(InputError, match="is larger than 256 MiB"):
        read_names(path)


def test_numbers_of_memory_cells_take_no_memory(tmp_path):
    # The standard library's machine makes a table of twice this many cells.
    assert read_pickle(kept(tmp_path, b"\x80\x02]r\xff\xff\xff\x7f.")) == []


@given(st.binary(max_size=60), st.integers(0, 60))
def test_damage_is_an_input_error(tmp_path_factory, junk, cut):
    folder = tmp_path_factory.getbasetemp()
    for data in (junk, pickle.dumps(["one", "two", ("three", 4)])[:cut] + junk):
        with contextlib.suppress(InputError):
            read_names(kept(folder, data))
