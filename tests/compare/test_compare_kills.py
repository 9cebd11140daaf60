"""A comparison that is killed again and again ends as one that was left in peace."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffsda.checkpoint import load
from diffsda.compare.record import Comparison

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_killed_and_stopped_it_ends_with_the_same_models(stage, tmp_path):
    words = [sys.executable, "-m", "diffsda", "compare", str(stage.files["ours"]), str(stage.files["dbse-series"])]
    words += ["--data", stage.fit, "--test", stage.test, "--static", "who", "--dynamic", "what", "--steps", "400"]
    words += ["--protocols", "eer", "--device", "cpu", "--threads", "1", "--out"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("COV")} | {"PYTHONPATH": str(ROOT)}

    def begin(out):
        return subprocess.Popen(
            [str(word) for word in (*words, out)], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    assert begin(tmp_path / "whole").wait(300) == 0
    killed = tmp_path / "killed"
    for number, how in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)):
        process = begin(killed)
        # Each time a little later: somewhere in the first run, then in the second.
        wanted = killed / "runs" / ("ours-0" if number < 2 else "dbse-series-0") / "state.pt"
        ends = time.monotonic() + 120
        while not wanted.is_file() and process.poll() is None and time.monotonic() < ends:
            time.sleep(0.01)
        process.send_signal(how)
        process.wait(60)
    assert begin(killed).wait(300) == 0
    for name in ("ours-0", "dbse-series-0"):
        left, right = (load(folder / "runs" / name) for folder in (tmp_path / "whole", killed))
        other = right.state_dict()
        assert all(value.equal(other[key]) for key, value in left.state_dict().items())
    one, other = (Comparison.read(folder / "compare.json") for folder in (tmp_path / "whole", killed))
    assert [held.rows for held in one.systems] == [held.rows for held in other.systems]
