"""Strangers' tensors are read without running, trusting or unpacking anything (see tests/cli for the rest)."""

import tracemalloc
import zipfile

import pytest
import safetensors.torch
import torch

from diffsda.errors import CheckpointError
from diffsda.foreign import read_tensors

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.float16)}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("suffix", ["pth", "pt", "ckpt", "bin"])
def test_pickled_state_dicts(suffix, legacy, tmp_path):
    path = tmp_path / f"a.{suffix}"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=not legacy)
    assert equal(read_tensors(path), TENSORS)
    torch.save({"state_dict": TENSORS, "epoch": 5}, path, _use_new_zipfile_serialization=not legacy)
    assert equal(read_tensors(path), TENSORS)


def test_safetensors(tmp_path):
    safetensors.torch.save_file(TENSORS, tmp_path / "a.safetensors")
    assert equal(read_tensors(str(tmp_path / "a.safetensors")), TENSORS)


def test_parameters_views_and_shared_storage(tmp_path):
    whole = torch.arange(12.0)
    held = {"p": torch.nn.Parameter(torch.ones(3)), "v": whole[2:8].view(2, 3), "t": whole.view(3, 4).t(), "w": whole}
    torch.save(held, tmp_path / "a.pth")
    assert equal(read_tensors(tmp_path / "a.pth"), held)


def test_an_expanded_tensor_is_refused_even_when_small(tmp_path):
    torch.save({"a": torch.zeros(1).expand(2)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a claims shape \(2,\) without the data for it"):
        read_tensors(tmp_path / "a.pth")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a/data/0", "w") as file:
        for _ in range(32):
            file.write(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=r"unpacks to 33554432, expected one saved by torch"):
        read_tensors(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_an_archive_with_a_broken_directory(tmp_path):
    torch.save(TENSORS, tmp_path / "a.pth")
    data = bytearray((tmp_path / "a.pth").read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place : place + 4] = b"PK\x09\x09"
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"expected an intact \.pth"):
        read_tensors(tmp_path / "a.pth")


def test_no_file(tmp_path):
    with pytest.raises(CheckpointError, match="no such file, expected the authors' state dict"):
        read_tensors(tmp_path / "a.pth")
