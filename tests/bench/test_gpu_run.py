"""``make gpu`` as far as it can be shown without a GPU: records, limits, broken processes, a bare host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffsda.bench import gpu, machine
from diffsda.bench.gpu_record import Record, folder_name

ROOT = Path(__file__).resolve().parents[2]
ABOUT = {"gpu": "NVIDIA H200", "date": "2000-01-01", "commit": "abc"}
REAL = machine.environment()
ABSENT = "tyro hypothesis matplotlib sklearn xformers apex scipy"


def read(path):
    return json.loads(path.read_text())


def test_a_record_is_partial_until_it_is_finished(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    record = Record(ABOUT, tmp_path, out)
    path = tmp_path / "nvidia-h200" / "2000-01-01-abc.json"
    assert record.paths == [path, out / "2000-01-01-abc.json"]
    assert read(path)["partial"]
    record.add({"a": 1})
    record.add({"b": 2})
    record.note(ceilings={"copy_bytes_per_s": 1.0})
    assert read(path)["partial"]
    record.note(partial=False)
    for place in record.paths:
        content = read(place)
        assert content["rows"] == [{"a": 1}, {"b": 2}]
        assert content["partial"] is False
        assert content["ceilings"] == {"copy_bytes_per_s": 1.0}
        assert content["about"] == ABOUT


def test_a_copy_that_cannot_be_written_stops_nothing(tmp_path):
    record = Record(ABOUT, tmp_path, tmp_path / "nowhere")
    assert len(record.paths) == 1
    record.add({"a": 1})


def test_folders_are_named_for_the_gpu():
    assert folder_name("NVIDIA GeForce RTX 4090") == "nvidia-geforce-rtx-4090"
    assert folder_name("  ") == "unknown"


def test_a_killed_run_leaves_a_valid_record(tmp_path):
    """Rows of a stand-in, written without end; kill -9 at some moment."""
    code = """
import itertools, sys
from pathlib import Path
from diffsda.bench.gpu_record import Record
record = Record({"gpu": "g", "date": "2000-01-01", "commit": "c"}, Path(sys.argv[1]))
for i in itertools.count():
    record.add({"i": i, "pad": "x" * 3000})
    print(i, flush=True)
"""
    for moment in range(2):
        folder = tmp_path / str(moment)
        command = [sys.executable, "-c", code, str(folder)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(5 + moment):
            process.stdout.readline()
        time.sleep(0.003 * moment)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        content = read(folder / "g" / "2000-01-01-c.json")
        assert content["partial"]
        assert [r["i"] for r in content["rows"]] == list(range(len(content["rows"])))
        assert len(content["rows"]) >= 5 + moment


def test_lines_come_as_they_are_printed_and_end_with_the_status():
    command = [sys.executable, "-c", "print('a'); print('b'); raise SystemExit(3)"]
    assert [line.strip() for line in gpu.lines_of(command, 30)] == ["a", "b", "exit 3"]


def test_a_process_that_hangs_is_killed_with_its_children():
    code = "import subprocess, sys, time; print('on', flush=True); subprocess.run(['sleep', '60'])"
    began = time.monotonic()
    assert [line.strip() for line in gpu.lines_of([sys.executable, "-c", code], 1.5)] == ["on", "exit late"]
    quiet = list(gpu.lines_of([sys.executable, "-c", code], 30, 1.5))
    assert [line.strip() for line in quiet] == ["on", "exit silent"]
    assert time.monotonic() - began < 20


def stand_in(monkeypatch, tmp_path, code):
    """Let ``benches`` start a stand-in for the processes that time kernels."""
    script = tmp_path / "stand_in.py"
    script.write_text("import json, sys, os\nops = sys.argv[sys.argv.index('--ops') + 1:]\n" + code)
    real = gpu.lines_of

    def lines(command, seconds, *silence, **variables):
        yield from real([sys.executable, str(script), *command[3:]], seconds, *silence, **variables)

    monkeypatch.setattr(gpu, "lines_of", lines)
    record = Record(ABOUT, tmp_path)
    record.note(ceilings={"copy_bytes_per_s": 1e12})
    return record


ROWS = """
say = lambda **m: print(json.dumps(m), flush=True)
row = lambda op: {"op": op, "case": "c", "dtype": "f", "direction": "forward", "peer": "ours", "skipped": "x"}
for op in ops:
    say(starting=op)
    if op == "b" and "--compiled" not in sys.argv:
        ACTION
    say(row=row(op) | {"compiled": "--compiled" in sys.argv})
"""


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("say(broken='b', reason='CUDA error: illegal'); sys.exit(3)", "CUDA error: illegal"),
        ("os.kill(os.getpid(), 11)", "exit -11"),
        ("import time; time.sleep(60)", "exit silent"),
    ],
    ids=["a lost context", "a crash", "a kernel without end"],
)
def test_the_benches_go_on_after_an_operation_that_breaks_its_process(monkeypatch, tmp_path, action, reason):
    monkeypatch.setattr(gpu, "SILENCE", 3.0)
    record = stand_in(monkeypatch, tmp_path, ROWS.replace("ACTION", action))
    gpu.benches(record, gpu.Clock(100), ["a", "b", "c"])
    content = read(record.paths[0])
    assert [(r["op"], r["compiled"]) for r in content["rows"]] == [
        *(("a", False), ("c", False)),
        *(("a", True), ("b", True), ("c", True)),
    ]
    (broken,) = content["broken"]
    assert broken["broken"] == "b"
    assert reason in broken["reason"]


def test_an_operation_without_end_uses_up_the_time_and_the_rows_before_it_stay(monkeypatch, tmp_path):
    record = stand_in(monkeypatch, tmp_path, ROWS.replace("ACTION", "import time; time.sleep(60)"))
    monkeypatch.setattr(gpu, "RESERVED", 0.0)
    monkeypatch.setattr(gpu, "LEAST", 1.0)
    began = time.monotonic()
    gpu.benches(record, gpu.Clock(2.5), ["a", "b", "c"])
    assert time.monotonic() - began < 15
    content = read(record.paths[0])
    assert [r["op"] for r in content["rows"]] == ["a"]
    assert content["unfinished"][0] == "b: time over"
    assert content["partial"]


@pytest.mark.parametrize(
    ("row", "tests", "status", "partial"),
    [
        ({}, {"passed": 3, "failed": 0, "skipped": 0}, 0, False),
        ({"wrong": True, "error": 0.5}, {"passed": 3}, 1, False),
        ({}, {"passed": 3, "failed": 1, "names": ["t::a"]}, 1, False),
        ({"skipped": "time over"}, {"passed": 3}, 0, True),
        ({}, {"passed": 3, "late": True}, 0, True),
    ],
    ids=["all good", "a wrong row", "a failed test", "a row without time", "tests without time"],
)
def test_a_whole_run_of_stand_ins(monkeypatch, tmp_path, capsys, row, tests, status, partial):
    code = ROWS.replace("ACTION", "pass").replace('"peer": "ours", "skipped": "x"', f'"peer": "ours", **{row!r}')
    stand_in(monkeypatch, tmp_path, code)
    monkeypatch.setattr(gpu, "has_gpu", lambda: True)
    monkeypatch.setattr(gpu, "measure_ceilings", lambda clock: {"copy_bytes_per_s": 4e12, "matmul_flops_per_s": 7e14})
    monkeypatch.setattr(gpu, "run_tests", lambda seconds, report: tests)
    monkeypatch.setattr(machine, "environment", lambda: {**REAL, "gpu": "G 1", "commit": "c"})
    monkeypatch.setattr(gpu, "Record", lambda about: Record(about, tmp_path))
    assert gpu.main(["--ops", "heun", "adamw"]) == status
    (path,) = (tmp_path / "g-1").glob("*.json")
    content = read(path)
    assert content["partial"] is partial
    assert [r["op"] for r in content["rows"]] == ["heun", "adamw"] * 2
    said = capsys.readouterr().out
    assert said.startswith("G 1 | driver")
    assert "copy 4.00 TB/s" in said
    assert "no record" in said


def test_junit_files_and_lines_give_counts_and_names(tmp_path):
    path = tmp_path / "r.xml"
    path.write_text(
        '<testsuites><testsuite><testcase classname="t" name="a"/>'
        '<testcase classname="t" name="b"><failure/></testcase>'
        '<testcase classname="t" name="c"><skipped/></testcase><testcase classname="t" name="d"><error/></testcase>'
        "</testsuite></testsuites>"
    )
    assert gpu.from_junit(path) == {"passed": 1, "failed": 2, "skipped": 1, "names": ["t::b", "t::d"]}
    said = [
        "tests/t.py::a[two words] PASSED [ 1%]\n",
        "tests/t.py::b[x-y] FAILED            [ 2%]\n",
        "noise PASSED\n",
        "tests/t.py::c SKIPPED (no)\n",
        "[gw3] [  7%] ERROR tests/t.py::d[z z]\n",
    ]
    names = ["tests/t.py::b[x-y]", "tests/t.py::d[z z]"]
    assert gpu.from_lines(said) == {"passed": 1, "failed": 2, "skipped": 1, "names": names}


def bare(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python as on a bare GPU host: what is not there cannot be imported."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {ABSENT.split()!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r} (blocked)', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    environment.pop("TRITON_INTERPRET", None)
    # Pytest's plug-in of hypothesis would import it by itself.
    plain = environment | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=plain, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_tests_of_a_gpu_host_are_collected_without_what_it_lacks(tmp_path):
    options = ("-m", "gpu", "-o", "addopts=", "-p", "no:cacheprovider", "--collect-only", "-q")
    done = bare(tmp_path, "-m", "pytest", *options, *gpu.TESTS)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    for name in ("test_kernels_on_gpu", "test_nets_on_gpu", "test_gpu"):
        assert f"{name}.py::" in done.stdout
    probe = bare(tmp_path, "-c", "import tyro")
    assert "blocked" in probe.stderr


def test_the_command_needs_nothing_a_gpu_host_lacks(tmp_path):
    done = bare(tmp_path, "-m", "diffsda.bench.gpu", "--help")
    assert done.returncode == 0, done.stderr
    assert "--minutes" in done.stdout
    benches = "import diffsda.bench.kernel_rows as k; [k.kernel_cases.bench(op) for op in k.kernel_cases.BENCHES]"
    done = bare(tmp_path, "-c", benches)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(gpu.has_gpu(), reason="there is a GPU here")
def test_without_a_gpu_every_part_is_skipped_by_name(tmp_path):
    done = bare(tmp_path, "-m", "diffsda.bench.gpu")
    assert done.returncode == 0, done.stderr
    for part in gpu.PARTS:
        assert f"skipped: {part}" in done.stdout
    assert "torch" in done.stdout.splitlines()[0]
    assert not list((ROOT / "bench" / "records").glob("no-gpu*"))


def test_the_commit_is_read_from_the_checkouts_files(tmp_path, monkeypatch):
    monkeypatch.delenv("DIFFSDA_COMMIT", raising=False)
    assert machine.commit(tmp_path) == "unknown"
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "packed-refs").write_text("# pack\n1111111111112222 refs/heads/main\n")
    assert machine.commit(tmp_path) == "111111111111"
    (git / "refs" / "heads" / "main").write_text("3333333333334444\n")
    assert machine.commit(tmp_path) == "333333333333"
    (git / "HEAD").write_text("5555555555556666\n")
    assert machine.commit(tmp_path) == "555555555555"
    monkeypatch.setenv("DIFFSDA_COMMIT", "7777777777778888")
    assert machine.commit(tmp_path) == "777777777777"
