"""A disk that is really full in the middle of a job: one line, nothing lost, and with room again the job goes on."""

import os

import pytest
from infer_jobs import assert_whole, bytes_of, folder_of, infer, lines

from diffsda.errors import SaveError


@pytest.mark.parametrize("disk", [2], indirect=True)
def test_a_disk_that_fills_up(disk, tmp_path):
    job = folder_of(tmp_path / "job", 40)
    infer(job, tmp_path / "whole")
    filler = disk / "filler"
    room = os.statvfs(disk)
    filler.write_bytes(bytes(room.f_bavail * room.f_frsize - 20 * 4096))
    with pytest.raises(SaveError, match="could not be written") as told:
        infer(job, disk / "out")
    assert "No space left on device" in str(told.value)
    made = lines(disk / "out")
    assert 0 < len(made) < 20
    assert all((disk / "out" / line["file"]).read_bytes() for line in made)
    assert not list(disk.rglob("*.part"))
    with pytest.raises(SaveError, match="No space left on device"):
        infer(job, disk / "out")
    assert lines(disk / "out")[: len(made)] == made
    filler.unlink()
    summary = infer(job, disk / "out")
    assert summary.skipped >= len(made)
    assert_whole(disk / "out", [str(i) for i in range(40)])
    assert bytes_of(disk / "out") == bytes_of(tmp_path / "whole")
