"""Work in processes: everything comes back, a crash costs what crashed, nobody is left behind."""

import os
import signal
import subprocess
import sys
import time

import pytest

from diffsda.data.video.workers import in_parallel, spread
from diffsda.errors import InputError


def work(number, among=()):
    if number in among:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 99:
        raise InputError("no ninety-nine")
    return 10 * number


def ten(number):
    return 10 * number


def die(number):
    os._exit(3)


@pytest.mark.parametrize("jobs", [0, 2])
def test_everything_comes_back(jobs):
    assert dict(spread(work, [(i,) for i in range(12)], jobs)) == {i: 10 * i for i in range(12)}
    assert list(spread(work, [], jobs)) == []


@pytest.mark.parametrize("jobs", [0, 1])
def test_errors_come_through(jobs):
    with pytest.raises(InputError, match="no ninety-nine"):
        list(spread(work, [(1,), (99,), (2,)], jobs))


def test_a_crash_costs_what_crashed():
    found = dict(spread(work, [(i, (3, 7)) for i in range(9)], 2))
    assert set(found) == set(range(9))
    assert {i for i, outcome in found.items() if isinstance(outcome, Exception)} == {3, 7}
    assert all(found[i] == 10 * i for i in found if i not in (3, 7))


def test_in_parallel_keeps_the_order():
    things = list(range(9))
    assert list(in_parallel(ten, things, 2)) == [10 * i for i in things]
    assert list(in_parallel(lambda i: 10 * i, things, 1)) == [10 * i for i in things], "with one job, in this process"
    with pytest.raises(InputError, match="7: the process that worked on it crashed"):
        list(in_parallel(die, [7, 8], 2))


PARENT = """
import sys, time
sys.path.insert(0, {folder!r})
from diffsda.data.video.workers import spread
import test_workers_sleepers as sleepers
if __name__ == "__main__":
    list(spread(sleepers.sleep, [({folder!r}, i) for i in range(8)], 2))
"""
SLEEPERS = """
import os, pathlib, time
def sleep(folder, number):
    pathlib.Path(folder, f"pid-{os.getpid()}").touch()
    time.sleep(60)
"""


def test_nobody_outlives_a_parent_that_is_killed(tmp_path):
    (tmp_path / "test_workers_sleepers.py").write_text(SLEEPERS)
    (tmp_path / "parent.py").write_text(PARENT.format(folder=str(tmp_path)))
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")])
    try:
        pids = []
        end = time.monotonic() + 60
        while len(pids) < 2 and time.monotonic() < end:
            pids = [int(path.name.partition("-")[2]) for path in tmp_path.glob("pid-*")]
            time.sleep(0.02)
        assert len(pids) == 2
    finally:
        parent.kill()
        parent.wait()
    while any(_alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.02)
    assert not [pid for pid in pids if _alive(pid)]


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
