"""Run tests/kernels/interpreted in processes of their own, with TRITON_INTERPRET=1, and say here what failed there."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).parent / "interpreted"
PROCESSES = int(os.environ.get("INTERPRETED_PROCESSES", "1"))
"""How many run at once. The interpreter uses one core each."""
NOTHING_COLLECTED = 5

COUNTED = re.compile(r"(\d+) (passed|failed|error|errors|skipped)\b")


def shares(files: list[Path], processes: int) -> list[list[Path]]:
    """Deal the files out, the largest first, each to whoever has least: the same shares every time."""
    hands: list[list[Path]] = [[] for _ in range(min(processes, len(files)))]
    for file in sorted(files, key=lambda p: (-p.stat().st_size, p.name)):
        min(hands, key=lambda hand: sum(p.stat().st_size for p in hand)).append(file)
    return hands


def run(files: list[Path], timeout: float = 540, **variables: str) -> tuple[int, str]:
    """Run pytest over the files under the interpreter; return its status and what it said."""
    places = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": places} | variables
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", "-rfE"]
    try:
        done = subprocess.run(
            [*command, *map(str, files)],
            cwd=ROOT, env=environment, timeout=timeout,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        said = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        return -1, f"{said}\nnot done within {timeout:.0f} s"
    return done.returncode, done.stdout


def counts(said: str) -> dict[str, int]:
    """Return the numbers of pytest's last line."""
    lines = [line for line in said.splitlines() if COUNTED.search(line)]
    return {word.rstrip("s"): int(number) for number, word in COUNTED.findall(lines[-1])} if lines else {}


def verdict(status: int, said: str) -> str | None:
    """Return what to tell of a run that was not a success: the tests that failed, then the end of the output."""
    count = counts(said)
    if status == 0 and count.get("passed"):
        return None
    failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if status == NOTHING_COLLECTED or not count:
        failed.insert(0, "no test was collected or ran")
    elif status == 0:
        failed.insert(0, "no test passed")
    return "\n".join([f"under the interpreter (status {status}):", *failed, "", said[-6000:]])


@pytest.mark.timeout(2100)
def test_kernels_under_the_interpreter():
    if importlib.util.find_spec("triton") is None and os.environ.get("REQUIRE_TRITON") != "1":
        pytest.skip("needs triton: pip install triton")
    files = sorted(FOLDER.glob("test_*.py"))
    assert files, f"no test files in {FOLDER}"
    hands = shares(files, PROCESSES)
    with ThreadPoolExecutor(len(hands)) as pool:
        runs = list(pool.map(lambda hand: run(hand, timeout=2000), hands))
    told = [text for text in (verdict(*one) for one in runs) if text]
    if told:
        pytest.fail("\n".join(told), pytrace=False)


def folder_of(tmp_path: Path, **files: str) -> list[Path]:
    """Make a folder of tests with our conftest in it."""
    (tmp_path / "conftest.py").write_text((FOLDER / "conftest.py").read_text())
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    return [tmp_path / f"{name}.py" for name in files]


def test_a_failure_there_is_told_here(tmp_path):
    files = folder_of(tmp_path, test_planted="def test_good(): pass\ndef test_bad(): assert 1 == 2, 'planted'\n")
    told = verdict(*run(files))
    assert told is not None
    assert "test_planted.py::test_bad" in told.split("\n\n")[0]
    assert "planted" in told


def test_success_is_success_and_interpreted(tmp_path):
    text = "import triton\ndef test_good():\n    assert triton.knobs.runtime.interpret\n"
    pytest.importorskip("triton")
    assert verdict(*run(folder_of(tmp_path, test_planted=text))) is None


@pytest.mark.parametrize(
    "text",
    ["", "import pytest\npytest.skip('all', allow_module_level=True)\n", "import nothing_of_that_name\n"],
    ids=["no tests", "all skipped", "a file that cannot be imported"],
)
def test_a_run_of_nothing_is_a_failure(tmp_path, text):
    assert verdict(*run(folder_of(tmp_path, test_planted=text))) is not None


def test_a_run_that_hangs_is_a_failure(tmp_path):
    files = folder_of(tmp_path, test_planted="import time\ndef test_slow(): time.sleep(60)\n")
    told = verdict(*run(files, timeout=5))
    assert told is not None
    assert "not done within 5 s" in told


def test_without_the_variable_nothing_is_collected(tmp_path):
    files = folder_of(tmp_path, test_planted="def test_good(): pass\n")
    status, said = run([tmp_path], TRITON_INTERPRET="0")
    assert status == NOTHING_COLLECTED, said
    assert files


def test_shares_hold_every_file_once(tmp_path):
    files = folder_of(tmp_path, **{f"test_{i}": "#" * 100 * i for i in range(1, 7)})
    for processes in (1, 2, 9):
        hands = shares(files, processes)
        assert len(hands) == min(processes, 6)
        assert sorted(p for hand in hands for p in hand) == sorted(files)
    sizes = [sum(p.stat().st_size for p in hand) for hand in shares(files, 2)]
    assert max(sizes) <= 1.3 * min(sizes)
