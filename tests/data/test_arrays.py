"""Array files are read and written exactly; broken and hostile ones are refused in one line."""

import io
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from diffsda.data import numpy_files
from diffsda.data.arrays import read, write
from diffsda.errors import InputError, SaveError


def found(folder):
    return sorted(path.name for path in folder.iterdir())


def arrays(n=6):
    draw = np.random.default_rng(0)
    mask = np.zeros((n, 5, 3), np.uint8)
    mask[1, 0, 2] = 1
    return {
        "x": draw.normal(size=(n, 5, 3)).astype(np.float32),
        "lengths": np.array([5, 4, 3, 2, 5, 5][:n]),
        "mask": mask,
        "speaker": np.arange(n, dtype=np.uint8),
        "phone": np.tile(np.arange(5, dtype=np.int16), (n, 1)),
        "weight": np.ones(n, np.float32),
        "table": np.zeros((n, 7), np.int64),
    }


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_what_is_written_is_read(tmp_path, suffix):
    path, given = tmp_path / f"mine{suffix}", arrays()
    write(path, given)
    clips = read(path)
    assert clips.name == "mine"
    assert np.array_equal(clips.x[0], given["x"][0])
    assert np.all(clips.x[3, 2:] == 0)
    assert clips.x[1, 0, 2] == 0
    assert clips.mask[1, 0, 2] == 1
    assert clips.lengths.tolist() == [5, 4, 3, 2, 5, 5]
    assert set(clips.labels) == {"speaker", "phone"}, "floats and tables are no labels"
    assert clips.labels["speaker"].tolist() == [0, 1, 2, 3, 4, 5]
    assert clips.labels["phone"][3].tolist() == [0, 1, -1, -1, -1]


def test_npy_holds_x_alone(tmp_path):
    x = arrays()["x"]
    write(tmp_path / "x.npy", {"anything": x.transpose(0, 2, 1)})
    assert np.array_equal(np.load(tmp_path / "x.npy"), x.transpose(0, 2, 1))
    assert np.array_equal(read(tmp_path / "x.npy").x, x.transpose(0, 2, 1))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_numpys_own_files_are_read(tmp_path, save):
    save(tmp_path / "a.npz", **arrays(), note=np.array("text"))
    assert np.array_equal(read(tmp_path / "a.npz").x[4], arrays()["x"][4])


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors"])
def test_foreign_byte_order_and_strides_are_written_right(tmp_path, suffix):
    x = np.arange(24.0).reshape(2, 4, 3)
    cases = {"order": x.astype(">f8"), "back": x[::-1, ::-1], "turned": x.transpose(2, 1, 0)}
    for name, given in cases.items():
        write(tmp_path / f"{name}{suffix}", {"x": given})
        assert np.array_equal(read(tmp_path / f"{name}{suffix}").x, given)


def test_the_same_arrays_give_the_same_bytes_and_any_name_will_do(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.npz", {"file": np.arange(3), "allow_pickle": np.arange(2)})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert np.load(tmp_path / "a.npz")["file"].tolist() == [0, 1, 2]


def test_float64_too_large_for_float32_is_refused_with_the_file(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([[[1.0], [1e300]]]))
    with pytest.raises(InputError, match=r"a\.npz: x\[0, 1, 0\]: got 1e\+300, too large"):
        read(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", x=np.array([[[1.0], [1e30]]]))
    assert read(tmp_path / "a.npz").x[0, 1, 0] == np.float32(1e30)


def refused(path, words):
    with pytest.raises(InputError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_unknown_and_folder(tmp_path):
    refused(tmp_path / "no.npz", "no such file")
    refused(tmp_path / "a.csv", "got suffix '.csv', expected one of .npz, .npy, .safetensors")
    (tmp_path / "d.npz").mkdir()
    refused(tmp_path / "d.npz", "is a folder")


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 5, 60, 300, -1])
def test_truncated_files_are_refused(tmp_path, suffix, keep):
    path = tmp_path / f"a{suffix}"
    write(path, {"x": arrays()["x"]})
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, "truncated")


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors"])
def test_rubbish_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"\x80\x04rubbish" * 100)
    refused(path, "cannot be read")


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "a.npz"
    write(path, {"x": arrays()["x"]})
    data = bytearray(path.read_bytes())
    data[250] ^= 1
    path.write_bytes(data)
    refused(path, "CRC")


def test_a_wrong_checksum_is_noticed_when_packed(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros((64, 64, 64), np.float32))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 16] ^= 1
    path.write_bytes(data)
    refused(path, "CRC")


def test_no_x_lists_what_is_there(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.zeros((2, 3, 1)), y=np.zeros(2))
    refused(tmp_path / "a.npz", "no array 'x'.*found X, y")


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("pwned",))


def test_pickles_are_refused_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hostile = np.array([Evil()], object)
    np.save("a.npy", hostile, allow_pickle=True)
    np.savez("a.npz", x=np.zeros((2, 3, 1), np.float32), y=hostile)
    refused("a.npy", "Python objects")
    refused("a.npz", "array 'y': holds Python objects")
    assert not Path("pwned").exists()


def npy_header(shape, kind="<f4"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("shape", [(10**6, 10**6, 10), (2, 3, 2), (-1, 3, 1), (2**62, 2**62, 2)])
def test_a_header_that_lies_is_refused_before_memory_is_taken(tmp_path, shape):
    data = npy_header(shape) + bytes(24)
    (tmp_path / "a.npy").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", data)
    for name in ("a.npy", "a.npz"):
        tracemalloc.start()
        refused(tmp_path / name, "24 bytes follow")
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()
    (tmp_path / "a.npy").write_bytes(npy_header((2, 3, 1)) + bytes(24))
    assert read(tmp_path / "a.npy").x.shape == (2, 3, 1)


def test_an_archive_declaring_gigabytes_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros((2, 3, 1), np.float32))
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 2**32 - 2)
    path.write_bytes(data)
    refused(path, "would unpack to 4294967294, expected at most 200 times")


def test_a_real_bomb_is_refused_before_memory_is_taken(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros((2**11, 2**11, 2), np.float32))
    monkeypatch.setattr(numpy_files, "MOST_BYTES", 2**24)
    tracemalloc.start()
    refused(path, "would unpack to")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_more_than_the_machine_holds_is_refused(tmp_path, monkeypatch):
    write(tmp_path / "a.npz", arrays())
    monkeypatch.setattr(os, "sysconf", lambda name: 8)
    refused(tmp_path / "a.npz", "needs .* GiB of memory, this machine has")


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("a.txt", {"x": np.zeros(2)}, "got suffix '.txt'"),
        ("a.npz", {}, "got no arrays"),
        ("a.npy", {"x": np.zeros(2), "y": np.zeros(2)}, r"got 2 arrays \(x, y\), a .npy file takes one"),
        ("a.npz", {"x": np.array([None])}, "'x' holds object"),
        ("a.safetensors", {"x": np.array(["a"])}, "'x' holds <U1"),
        ("no/a.npz", {"x": np.zeros(2)}, "there is no folder"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, given, words):
    with pytest.raises(InputError, match=words):
        write(tmp_path / name, given)
    assert found(tmp_path) == []


def test_a_file_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "a.npy"
    write(path, {"x": np.zeros(2)})
    with pytest.raises(InputError, match="already exists; pass --overwrite"):
        write(path, {"x": np.ones(2)})
    assert np.load(path).tolist() == [0, 0]
    write(path, {"x": np.ones(2)}, overwrite=True)
    assert np.load(path).tolist() == [1, 1]


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    write(path, arrays())

    def full(_number):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SaveError, match="No space left"):
        write(path, {"x": np.zeros((2, 3, 1))}, overwrite=True)
    assert len(read(path)) == 6
    assert found(tmp_path) == ["a.npz"]
