"""Everything that needs a CUDA device, in one command with an end: tests, kernel benches, summary, record.

    PYTHONPATH=. python -m diffsda.bench.gpu [--minutes 8.5] [--ops heun adamw] [--no-tests]

Nothing needs to be installed but torch, triton and pytest. Every row is in the record as soon as it exists; a run
that is stopped leaves a record marked partial. Without a GPU every part is skipped by name. Exit status 1 if a test
failed or a row is wrong; a goal missed is no failure.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from diffsda.bench import goals, kernel_cases, machine
from diffsda.bench.gpu_record import Record

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("tests/gpu", "tests/kernels/test_heun.py", "tests/kernels/test_adamw.py", "tests/train/test_train_on_gpu.py")
TEST_SECONDS = 210.0
"""Longest that the tests may take."""
RESERVED = 10.0
"""Seconds kept for the end of the run."""
SILENCE = 90.0
"""Longest that a bench process may go without a word: more than a compilation takes. A kernel that never ends costs
this much, and its operation."""
LEAST = 15.0
"""With less than this left, no further process is started."""
PARTS = ("measured copy bandwidth and matmul rate", "gpu-marked tests", "kernel benches", "goals")


class Clock:
    """What is left of a budget."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        """Return seconds left, with the end of the run taken off."""
        return self.end - RESERVED - time.monotonic()


def lines_of(command: Sequence[str], seconds: float, silence: float = float("inf"), **variables: str) -> Iterator[str]:
    """Yield what a process prints, line by line; after ``seconds``, or ``silence`` without a line, it is killed.

    The last line is ``exit STATUS``, ``exit late`` or ``exit silent``.
    """
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(**variables), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    end = time.monotonic() + seconds
    late = ""
    try:
        while True:
            try:
                line = lines.get(timeout=max(0.01, min(silence, end - time.monotonic())))
            except queue.Empty:
                late = "late" if time.monotonic() >= end else "silent"
                break
            if line is None:
                break
            yield line
    finally:
        if process.poll() is None and (late or sys.exc_info()[0] is not None):
            _kill(process)
    yield f"exit {late or process.wait()}"


def environment(**variables: str) -> dict[str, str]:
    """Return the variables of a child: this checkout first, kernels compiled and not interpreted."""
    kept = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    places = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return kept | {"PYTHONPATH": places, "PYTHONUNBUFFERED": "1"} | variables


def run_tests(seconds: float, report: Path) -> dict[str, Any]:
    """Run the gpu-marked tests and return how many passed, failed and were skipped, and which failed."""
    command = [
        *(sys.executable, "-m", "pytest", "-m", "gpu", "-o", "addopts=", "-v", "--tb=short", "--color=no"),
        *("-p", "no:cacheprovider", f"--junitxml={report}", *_parallel(), *TESTS),
    ]
    said: list[str] = []
    for line in lines_of(command, seconds, REQUIRE_GPU="1"):
        said.append(line)
    end = said.pop()
    found = from_junit(report) if report.is_file() else from_lines(said)
    if end == "exit late":
        found["late"] = True
    elif end not in ("exit 0", "exit 1"):
        found["skipped_because"] = f"pytest ended with {end}: {''.join(said)[-500:]}"
        found["failed"] = found.get("failed", 0) + 1
    if found.get("failed"):
        print("".join(said)[-6000:], flush=True)
    return found


def _parallel() -> list[str]:
    """Return pytest-xdist's option where that is: most of the time goes into compiling kernels, on one core each."""
    if importlib.util.find_spec("xdist") is None:
        return []
    return ["-n", str(max(1, min(8, (os.cpu_count() or 1) // 2)))]


def from_junit(path: Path) -> dict[str, Any]:
    """Read counts and names out of pytest's JUnit file."""
    found: dict[str, Any] = {"passed": 0, "failed": 0, "skipped": 0, "names": []}
    for case in ElementTree.parse(path).iter("testcase"):
        kinds = {child.tag for child in case}
        word = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        found[word] += 1
        if word == "failed":
            found["names"].append(f"{case.get('classname', '')}::{case.get('name', '')}")
    return found


def from_lines(said: Sequence[str]) -> dict[str, Any]:
    """Read counts and names out of ``pytest -v``, parallel or not: of a run that was stopped."""
    found: dict[str, Any] = {"passed": 0, "failed": 0, "skipped": 0, "names": []}
    for line in said:
        match = _RESULT.match(line)
        if match:
            name, word = match["name"] or match["there"], match["word"] or match["said"]
            result = "failed" if word == "ERROR" else word.lower()
            found[result] += 1
            if result == "failed":
                found["names"].append(name)
    return found


_WORDS = "PASSED|FAILED|ERROR|SKIPPED"
_RESULT = re.compile(
    rf"(?P<name>\S+\.py::.+?) (?P<word>{_WORDS})(?:\s|$)|\[gw\d+\] \[ *\d+%\] (?P<said>{_WORDS}) (?P<there>\S+\.py::.+)"
)


def benches(record: Record, clock: Clock, ops: Sequence[str]) -> None:
    """Time all operations: everyone but the compiled references first, then those, as long as there is time."""
    rate = record.content["ceilings"]["copy_bytes_per_s"]
    for flags in ((), ("--compiled",)):
        waiting = list(ops)
        while waiting:
            left = clock.left()
            if left < LEAST:
                record.note(unfinished=[*record.content.get("unfinished", ()), *(f"{op}{flags}" for op in waiting)])
                break
            command = [
                *(sys.executable, "-m", "diffsda.bench.kernel_rows", "--seconds", f"{left - 10:.0f}"),
                *("--copy-rate", f"{rate:.6g}", *flags, "--ops", *waiting),
            ]
            waiting = _one_process(record, command, left, waiting)


def _one_process(record: Record, command: Sequence[str], seconds: float, ops: Sequence[str]) -> list[str]:
    """Keep the rows of one process; return the operations it did not come to."""
    now, other = None, []
    for line in lines_of(command, seconds, SILENCE):
        message = message_of(line)
        if message is None:
            other.append(line)
            continue
        if "starting" in message:
            now = message["starting"]
        elif "row" in message:
            record.add(message["row"])
            print(_short(message["row"]), flush=True)
        elif "broken" in message:
            print(f"{message['broken']}: {message['reason']}", flush=True)
            record.note(broken=[*record.content.get("broken", ()), message])
    end = other.pop() if other else ""
    if end == "exit 0":
        return []
    if now is None or end == "exit late":
        words = "time over" if end == "exit late" else "".join(other)[-800:]
        record.note(unfinished=[*record.content.get("unfinished", ()), f"{now or ops[0]}: {words}"])
        return []
    print(f"{now}: the process ended with {end}; going on with the next operation", flush=True)
    if not record.content.get("broken") or record.content["broken"][-1]["broken"] != now:
        reason = f"{end}: {''.join(other)[-500:]}"
        record.note(broken=[*record.content.get("broken", ()), {"broken": now, "reason": reason}])
    return list(ops[list(ops).index(now) + 1 :])


def measure_ceilings(clock: Clock) -> dict[str, float]:
    """Return the measured copy and matmul rates; empty if the device cannot be used."""
    said = list(lines_of([sys.executable, "-m", "diffsda.bench.kernel_rows", "--ceilings"], min(90, clock.left())))
    for message in map(message_of, said):
        if message and "ceilings" in message:
            return message["ceilings"]
    print("\n".join(said)[-3000:], flush=True)
    return {}


def message_of(line: str) -> dict[str, Any] | None:
    """Return the JSON of a line that holds it."""
    if not line.startswith("{"):
        return None
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def _short(row: dict[str, Any]) -> str:
    name = f"{row['op']}/{row['case']} {row['dtype']} {row['direction']} {row['peer']}"
    if "milliseconds" not in row:
        word = next((w for w in ("wrong", "failed", "skipped") if w in row), "")
        return f"{name:78} {word} {row.get(word) if word != 'wrong' else row['error']}"
    ratio = f" {row['ratio']:.2f}x" if "ratio" in row else ""
    return f"{name:78} {1e3 * row['milliseconds']:10.1f} us {row['share']:6.1%} {row['timing']}{ratio}"


def _kill(process: subprocess.Popen[str]) -> None:
    import signal

    os.killpg(process.pid, signal.SIGKILL)  # a group of its own, made when it was started
    process.wait()


def has_gpu() -> bool:
    """Whether there is a CUDA device; nothing is started on it."""
    import torch

    return torch.cuda.is_available() and torch.version.hip is None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything and say how it came out."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(prog="python -m diffsda.bench.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.5)
    parser.add_argument("--ops", nargs="+", choices=kernel_cases.BENCHES, default=list(kernel_cases.BENCHES))
    parser.add_argument("--no-tests", action="store_true")
    options = parser.parse_args(arguments)
    clock = Clock(60 * options.minutes)
    about = machine.environment()
    print(machine.line(about), flush=True)
    if not has_gpu():
        for part in PARTS:
            print(f"skipped: {part} (no CUDA device)")
        print("no record was written")
        return 0
    record = Record(about)
    record.note(ceilings=measure_ceilings(clock))
    if not record.content["ceilings"]:
        print("the device cannot be used: no ceilings", flush=True)
        return 1
    if not options.no_tests:
        report = record.paths[0].with_suffix(".xml")
        try:
            record.note(tests=run_tests(min(TEST_SECONDS, clock.left()), report))
        finally:
            report.unlink(missing_ok=True)
    benches(record, clock, options.ops)
    late = bool(record.content.get("unfinished") or record.content["tests"].get("late"))
    record.note(partial=late or any(r.get("skipped") == "time over" for r in record.rows))
    print(goals.summary(record.content))
    print(f"record: {record.paths[-1]}{' (partial)' if record.content['partial'] else ''}")
    wrong = any(r.get("wrong") or ("failed" in r and r["peer"] == kernel_cases.OURS) for r in record.rows)
    return 1 if wrong or record.content.get("broken") or record.content["tests"].get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
