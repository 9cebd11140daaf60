"""``make gpu-network`` as far as it can be shown without a GPU: jobs, broken processes, goals, records, tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from diffsda.bench import gpu, gpu_loader, gpu_network, machine, network_cases, pixels, tables
from diffsda.bench.gpu import Clock
from diffsda.bench.gpu_network import Job, work
from diffsda.bench.gpu_record import Record
from diffsda.bench.network_goals import GOALS, verdicts

ROOT = Path(__file__).resolve().parents[2]
ABOUT = {**machine.environment(), "gpu": "G 1", "date": "2000-01-01", "commit": "abc", "preset": "p"}
CEILINGS = {"copy_bytes_per_s": 4e12, "matmul_flops_per_s": 8e14}

STAND_IN = """
import json, os, sys, time
def listed(name):
    words = sys.argv[sys.argv.index(name) + 1:]
    return words[: next((i for i, w in enumerate(words) if w.startswith("--")), len(words))]
say = lambda **m: print(json.dumps(m), flush=True)
for case in listed("--cases"):
    for who in listed("--peers"):
        say(starting=who, case=case)
        if (case, who) == ("b", "bad"):
            ACTION
    for who in listed("--peers"):
        say(row={"case": case, "peer": who, "skipped": "x"})
"""


@pytest.fixture
def record(tmp_path):
    return Record(ABOUT, tmp_path, kind="network-")


def stand_in(monkeypatch, tmp_path, action):
    """Let a stand-in run instead of the processes that time networks."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN.replace("ACTION", action))
    real = gpu.lines_of

    def lines(command, seconds, *silence, **variables):
        yield from real([sys.executable, str(script), *command[3:]], seconds, *silence, **variables)

    monkeypatch.setattr(gpu_network, "lines_of", lines)


def seen(record):
    rows = json.loads(record.paths[0].read_text())["rows"]
    return [(r["case"], r["peer"], "failed" if "failed" in r else "") for r in rows]


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("say(broken='CUDA error: illegal'); sys.exit(3)", "CUDA error: illegal"),
        ("os.kill(os.getpid(), 11)", "exit -11"),
        ("time.sleep(60)", "exit silent"),
    ],
    ids=["a lost context", "a crash", "a network without end"],
)
def test_the_rest_goes_on_without_who_breaks_a_process(monkeypatch, tmp_path, record, action, reason):
    stand_in(monkeypatch, tmp_path, action)
    work(record, Clock(100), [Job("part", ("a", "b", "c"), ("good", "bad", "other"), 60, silence=3.0)])
    everyone = [("a", "good", ""), ("a", "bad", ""), ("a", "other", "")]
    rest = [(case, who, "") for case in ("b", "c") for who in ("good", "other")]
    assert seen(record) == [*everyone, ("b", "bad", "failed"), *rest]
    assert reason in record.rows[3]["failed"]
    assert record.rows[3]["part"] == "part"


def test_who_takes_too_long_costs_its_job_only(monkeypatch, tmp_path, record):
    stand_in(monkeypatch, tmp_path, "time.sleep(60)")
    jobs = [Job("first", ("a", "b"), ("good", "bad"), 2.0), Job("second", ("c",), ("good",), 60)]
    work(record, Clock(100), jobs)
    assert seen(record) == [("a", "good", ""), ("a", "bad", ""), ("b", "bad", ""), ("c", "good", "")]
    assert record.rows[2]["skipped"] == "not done within 2 s"
    assert record.content["unfinished"] == ["first: b bad"]


def test_who_hangs_is_left_out_before_the_time_of_the_job_is_over():
    assert all(job.silence < job.seconds for job in gpu_network.jobs("/nowhere"))


def test_a_job_whose_peer_broke_is_not_begun_for_the_yardstick_alone(monkeypatch, tmp_path, record):
    stand_in(monkeypatch, tmp_path, "os.kill(os.getpid(), 11)")
    work(record, Clock(100), [Job("part", ("b",), ("graph", "bad"), 60)])
    assert seen(record) == [("b", "bad", "failed")]


def test_jobs_without_time_are_named(record):
    work(record, Clock(5), [Job("part", ("a", "b"), ("x",), 60)])
    assert record.content["unfinished"] == ["part: a b"]


def test_jobs_name_cases_and_contestants_there_are():
    everyone = {v for k, v in vars(network_cases).items() if k.isupper() and isinstance(v, str)}
    for job in gpu_network.jobs("/nowhere"):
        if job.part == "loader":
            assert (job.cases, job.peers) == (gpu_loader.CASES, gpu_loader.PEERS)
            continue
        assert set(job.cases) <= {*network_cases.SETTINGS, "equality", pixels.CASE}
        assert set(job.peers) <= everyone
    # The plain rows of all three come before anything is compiled.
    parts = [job.part for job in gpu_network.jobs("/nowhere")]
    assert parts[:3] == ["evaluation", "sample", "train"]


def row(case, peer, milliseconds=1.0, by=1.0, anchor="graph", **others):
    known = {"case": case, "peer": peer, "milliseconds": milliseconds, "by_anchor": by, "anchor": anchor}
    return {**known, "flops": 4e10, "flops_per_s": 4e13 / milliseconds, "clips_per_s": 16e3 / milliseconds, **others}


def found(rows):
    return {v.goal.name: v for v in verdicts({"rows": rows, "ceilings": CEILINGS})}


def test_without_rows_nothing_is_said_of_any_goal():
    assert {v.words for v in found([]).values()} == {"no record"}
    assert len(found([])) == len(GOALS)


def test_the_fastest_of_ours_counts_and_ratios_are_of_the_same_rounds():
    case = "evaluation/160"
    rows = [
        *(row(case, "graph", 10.0), row(case, "eager", 13.0, 1.3), row(case, "published", 40.0, 4.0)),
        *(row(case, "floor", 9.0, 0.9), row(case, "floor_plain", 5.0, 0.5)),
        # Another process, while the device was slower.
        *(row(case, "graph", 20.0), row(case, "compile", 16.0, 0.8, ready_seconds=50.0)),
        row(case, "published_fixed_compiled", 24.0, 1.2),
    ]
    said = found(rows)
    assert said["evaluation_160"].found.value == pytest.approx(8.0)
    assert said["evaluation_160"].found.where == "compile"
    assert said["floor_160"].found.value == pytest.approx(0.8 / 0.9)
    assert said["compile_160"].found.value == pytest.approx(1.5)
    assert said["compile_160"].words == "met"
    assert said["compile_first"].words == "met"
    assert said["evaluation_16"].found is None
    without = found(rows[:5])
    assert without["floor_160"].found.value == pytest.approx(1 / 0.9)
    assert without["floor_160"].words == "met"
    assert without["compile_160"].words == "no record"


def test_throughput_utilisation_memory_and_equality():
    rows = [
        *(row("sample/16", "graph", 1000.0), row("sample/16", "published", 2500.0, 2.5)),
        *(row("train/16", "eager", 80.0, anchor="eager", flops=2.88e13), row("train/16", "floor", 1.0, 0.5, "eager")),
        {"case": "memory train/16", "peer": "eager", "peak_bytes": 14e9},
        {"case": "memory train/16", "peer": "published", "peak_bytes": 60e9},
        {"case": "equality float32", "peer": "eager", "error": 1e-5, "bound": 1e-4, "wrong": False},
        {"case": "equality float32", "peer": "graph", "error": 2e-4, "bound": 1e-4, "wrong": True},
        {"case": "evaluation/160", "peer": "compile", "failed": "no"},
    ]
    said = found(rows)
    assert said["sample_16"].found.value == pytest.approx(16.0)
    assert said["sample_16"].words == "missed by 27.3%"
    assert said["sample_16_published"].words == "missed by 16.7%"
    assert said["train_utilisation"].found.value == pytest.approx(45.0)
    assert said["train_memory"].found.value == pytest.approx(14.0)
    assert said["float32"].words == "missed by 100.0%"


def test_the_table_shows_goals_and_rows():
    rows = [row("evaluation/160", "graph", 10.0), row("evaluation/160", "published", 40.0, 4.0)]
    table = tables.network_table({"about": ABOUT, "rows": rows, "ceilings": CEILINGS, "partial": True})
    assert "| evaluation of 160 frames | <= 10.6 ms | 10 ms (graph) | met |" in table
    assert "| evaluation/160 | published | 40.000 | 4.00 x graph | 1 |" in table
    assert "time was over" in table


@pytest.mark.parametrize("wrong", [False, True])
def test_a_whole_run_of_stand_ins(monkeypatch, tmp_path, capsys, wrong):
    rows = [row("evaluation/160", "graph", 10.0), {"case": "evaluation/160", "peer": "onnxruntime", "skipped": "no"}]
    rows += [{"case": "profile train/16", "peer": "eager", **PROFILED}]
    rows += [{"case": "equality bf16", "peer": "eager", "error": 0.5, "bound": 0.02, "wrong": True}] if wrong else []
    monkeypatch.setattr(gpu, "has_gpu", lambda: True)
    monkeypatch.setattr(gpu, "measure_ceilings", lambda clock: CEILINGS)
    monkeypatch.setattr(machine, "environment", lambda: ABOUT)
    monkeypatch.setattr(gpu_network, "Record", lambda about, **how: Record(about, tmp_path, **how))

    def lines(command, seconds, *silence, **variables):
        assert command[command.index("--trace") + 1] == str(tmp_path)
        yield from (json.dumps({"row": r}) + "\n" for r in rows)
        yield "exit 0"

    monkeypatch.setattr(gpu_network, "lines_of", lines)
    assert gpu_network.main(["--profile", str(tmp_path)]) == wrong
    (path,) = (tmp_path / "g-1").glob("network-2000-01-01-abc.json")
    content = json.loads(path.read_text())
    assert content["partial"] is False
    assert len(content["rows"]) == len(rows) * len(gpu_network.jobs(""))
    said = capsys.readouterr().out
    assert "copy 4.00 TB/s" in said
    assert "conv_kernel" in said
    assert "evaluation of 160 frames" in said
    # A part done again replaces its rows only; a new record of a part is a part.
    assert gpu_network.main(["--profile", str(tmp_path), "--again", "--parts", "train"]) == wrong
    again = json.loads(path.read_text())
    assert again["partial"] is False
    assert [r["part"] for r in again["rows"]].count("train") == len(rows)
    assert len(again["rows"]) == len(content["rows"])
    assert gpu_network.main(["--profile", str(tmp_path), "--parts", "train"]) == wrong
    assert json.loads(path.read_text())["partial"]


def test_rows_of_real_networks_arrive_in_the_record(record):
    """The whole way, on the CPU: a process, its rows, the record."""
    options = ["--device", "cpu", "--preset", "tiny_vector", "--frames", "3", "--steps", "3", "--rounds", "1"]
    work(record, Clock(120), [Job("evaluation", ("evaluation/1",), ("eager", "published", "floor"), 100)], options)
    rows = json.loads(record.paths[0].read_text())["rows"]
    assert [(r["part"], r["peer"]) for r in rows] == [("evaluation", p) for p in ("eager", "published", "floor")]
    assert all(r["milliseconds"] > 0 for r in rows)


PROFILED = {
    "kernels": [{"kernel": "conv_kernel", "calls": 3, "microseconds": 10.0, "share": 0.5}],
    "kernels_in_all": 7,
    "all_microseconds": 20.0,
}


@pytest.mark.skipif(gpu.has_gpu(), reason="there is a GPU here")
def test_without_a_gpu_every_part_is_skipped_by_name():
    command = [sys.executable, "-m", "diffsda.bench.gpu_network"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for part in (gpu_network.CEILINGS, *gpu_network.PARTS, "goals"):
        assert f"skipped: {part}" in done.stdout
