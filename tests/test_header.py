"""The header of a safetensors file, read without torch."""

import json

import numpy as np
import pytest
import safetensors.numpy

from diffsda.errors import CheckpointError
from diffsda.header import METADATA_KEY, newest, read_header


def raw(path, head, data=b""):
    """Write a file with this text, or these plain data, for a header."""
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_names_types_shapes_and_words(tmp_path):
    arrays = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.int64), "c": np.zeros((), np.float16)}
    about = {METADATA_KEY: json.dumps({"recipe": {"name": "x"}}), "other": "word"}
    safetensors.numpy.save_file(arrays, tmp_path / "m.safetensors", metadata=about)
    header = read_header(tmp_path / "m.safetensors")
    assert header.tensors == {"a": ("F32", (2, 3)), "b": ("I64", (4,)), "c": ("F16", ())}
    assert header.parameters == 2 * 3 + 4 + 1
    assert header.metadata == about
    assert header.ours() == {"recipe": {"name": "x"}}


def test_no_tensors_and_no_words(tmp_path):
    header = read_header(raw(tmp_path / "m", {}))
    assert (header.tensors, header.metadata, header.parameters, header.ours()) == ({}, {}, 0, None)


@pytest.mark.parametrize("words", ["not json", "[1, 2]", "5", "null", "[" * 100_000, ""])
def test_words_that_are_not_ours(tmp_path, words):
    header = read_header(raw(tmp_path / "m", {"__metadata__": {METADATA_KEY: words}}))
    assert header.ours() is None


GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def test_the_good_twin_of_what_follows(tmp_path):
    assert read_header(raw(tmp_path / "m", GOOD, bytes(8))).parameters == 2


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{",
        b"{}x",
        b"[]",
        b"5",
        b"null",
        b'"text"',
        b"\xff\xfe\xfd\xfc",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        {"a": 5},
        {"a": []},
        {"a": {}},
        {"a": {"dtype": "F32", "shape": [2]}},
        {"a": {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": []}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, None]}},
        b'{"a": {"dtype": "F32", "shape": [Infinity], "data_offsets": [0, 8]}}',
        b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 8]}}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 1e999]}}',
        {"__metadata__": [], **GOOD},
        {"__metadata__": "text", **GOOD},
        {"__metadata__": None, **GOOD},
    ],
)
def test_damaged_headers_are_refused_and_nothing_else_happens(tmp_path, head):
    with pytest.raises(CheckpointError, match=r"expected a (safetensors file|model saved by this program)"):
        read_header(raw(tmp_path / "m", head, bytes(8)))


@pytest.mark.parametrize("extra", [-8, -1, 1, 100])
def test_more_or_fewer_bytes_than_promised(tmp_path, extra):
    path = raw(tmp_path / "m", GOOD, bytes(8 + extra))
    size = path.stat().st_size
    with pytest.raises(CheckpointError, match=rf"got {size} bytes, expected {size - extra}: the file is truncated"):
        read_header(path)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9])
def test_hardly_any_bytes(tmp_path, size):
    (tmp_path / "m").write_bytes(b"\x05" * size)
    with pytest.raises(CheckpointError, match=f"got {size} bytes that are no safetensors file.*truncated download"):
        read_header(tmp_path / "m")


@pytest.mark.parametrize("size", [2**63, 2**40, 100_000_001])
def test_a_header_that_claims_to_be_huge_is_not_read(tmp_path, size):
    path = tmp_path / "m"
    path.write_bytes(size.to_bytes(8, "little") + b"{}")
    with path.open("r+b") as file:
        file.truncate(2**41)  # a hole, not bytes: reading it would take terabytes
    with pytest.raises(CheckpointError, match="no safetensors file"):
        read_header(path)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone: cannot be read .No such file or directory., expected a model"):
        read_header(tmp_path / "gone")
    with pytest.raises(CheckpointError, match=r"cannot be read .Is a directory., expected a model file"):
        read_header(tmp_path)


def test_newest_counts_steps_and_not_letters(tmp_path):
    for name in ("weights-9.safetensors", "weights-00000010.safetensors", "weights-best.safetensors", "a.txt"):
        (tmp_path / name).write_bytes(b"")
    assert newest(tmp_path).name == "weights-00000010.safetensors"
    assert newest(tmp_path / "a.txt").name == "a.txt"
    assert newest(tmp_path / "gone").name == "gone"


def test_newest_of_a_folder_without_models(tmp_path):
    (tmp_path / "weights-best.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"got a folder without weights-.* expected a run folder"):
        newest(tmp_path)
