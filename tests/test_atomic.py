"""A file is written whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffsda.atomic import atomic_write
from diffsda.errors import InputError, SaveError

ROOT = Path(__file__).parent.parent


def found(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "a.bin"
    atomic_write(path, lambda file: file.write(b"old"))
    atomic_write(str(path), lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert found(tmp_path) == ["a.bin"]


def test_permissions_are_the_usual_ones_or_those_of_the_old_file(tmp_path):
    plain, ours = tmp_path / "plain", tmp_path / "ours"
    plain.write_bytes(b"")
    atomic_write(ours, lambda file: file.write(b"1"))
    assert ours.stat().st_mode == plain.stat().st_mode
    ours.chmod(0o640)
    atomic_write(ours, lambda file: file.write(b"2"))
    assert ours.stat().st_mode & 0o777 == 0o640


def test_a_link_stays_a_link(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    atomic_write(link, lambda file: file.write(b"new"))
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


@pytest.mark.parametrize("old", [None, b"old"])
def test_no_space_at_sync_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, old):
    path = tmp_path / "a.bin"
    if old is not None:
        path.write_bytes(old)

    def full(_number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SaveError, match="No space left on device") as caught:
        atomic_write(path, lambda file: file.write(b"new"))
    assert ("untouched" in str(caught.value)) == (old is not None)
    assert found(tmp_path) == ([] if old is None else ["a.bin"])
    assert old is None or path.read_bytes() == old


def test_a_real_limit_on_file_size(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    code = (
        "import resource, sys\n"
        "from diffsda.atomic import atomic_write\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "atomic_write(sys.argv[1], lambda file: file.write(bytes(4096)))\n"
        "atomic_write(sys.argv[1], lambda file: file.write(bytes(1 << 20)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert "SaveError" in run.stderr
    assert "File too large" in run.stderr
    assert path.read_bytes() == bytes(4096), "the write within the limit should have stayed"
    assert found(tmp_path) == ["a.bin"]


def test_an_error_in_fill_is_told_and_cleaned_up(tmp_path):
    def half(file):
        file.write(b"half")
        raise RuntimeError("writer gave up")

    with pytest.raises(SaveError, match="RuntimeError: writer gave up") as caught:
        atomic_write(tmp_path / "a.bin", half)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert found(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InputError("wrong array")])
def test_interrupts_and_our_own_errors_pass_through(tmp_path, error):
    def stop(_file):
        raise error

    with pytest.raises(type(error)):
        atomic_write(tmp_path / "a.bin", stop)
    assert found(tmp_path) == []


def test_a_missing_folder_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*nowhere; make it first"):
        atomic_write(tmp_path / "nowhere" / "a.bin", lambda file: None)
    with pytest.raises(InputError, match="is a folder"):
        atomic_write(tmp_path, lambda file: None)
    assert found(tmp_path) == []
