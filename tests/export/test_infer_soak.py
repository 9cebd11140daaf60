"""Long jobs: memory stays flat, and a job killed again and again ends as one that was not."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from infer_jobs import assert_whole, bytes_of, clip, folder_of, infer, start

from diffsda.data.arrays import write

pytestmark = pytest.mark.slow


WATCHED = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from infer_jobs import session

from diffsda.export.infer import Settings, run

job, out = Path(sys.argv[2]), Path(sys.argv[3])
memory = []

def look(done, total):
    if done % 1000 == 0:
        memory.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20)

print(run(session(), job, "encode", out, Settings(tile=64), progress=look).done, *memory)
"""
"""In a process of its own: what other tests left in the allocator is not what this one asks about."""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_stays_flat_over_10_000_clips(tmp_path):
    (tmp_path / "job").mkdir()
    for i in range(100):
        write(tmp_path / "job" / f"{i}.npz", {"x": np.stack([clip(100 * i + j, 20) for j in range(100)])})
    command = [sys.executable, "-c", WATCHED, str(Path(__file__).parent), str(tmp_path / "job"), str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    done, *memory = map(float, ended.stdout.split())
    assert done == 10_000
    assert len(memory) == 10
    assert memory[-1] - memory[1] < 4, memory


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_job_killed_ten_times_ends_as_one_that_was_not(tmp_path):
    folder_of(tmp_path / "job", 1000, frames=(5, 6, 7, 8))
    infer(tmp_path / "job", tmp_path / "whole")
    script = Path(__file__).with_name("killed_infer.py")
    code = f"import sys, runpy; sys.path.insert(0, {str(script.parent)!r}); "
    code += f"runpy.run_path({str(script)!r}, run_name='__main__')"
    process = start(tmp_path / "job", tmp_path / "out", 10, 0, code=code)
    out, err = process.communicate(timeout=300)
    seen = json.loads(out)
    assert seen["kills"] == 10, err
    assert seen["lines"] == sorted(seen["lines"])
    assert 0 < seen["lines"][0] < seen["last"][1] < 1000, seen
    assert seen["last"][0] == 0
    assert_whole(tmp_path / "out", [str(i) for i in range(1000)])
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "whole")
