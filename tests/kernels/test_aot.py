"""Every kernel compiles for every GPU generation, without stack, spills or narrow accesses; the check can fail."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from diffsda.bench import aot

ROOT = Path(__file__).resolve().parents[2]

if os.environ.get("REQUIRE_TRITON") != "1":
    pytest.importorskip("triton", reason="needs triton: pip install triton")


def run(*arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python elsewhere, without the interpreter: an interpreted kernel cannot be compiled."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment | variables, capture_output=True, text=True, check=False)


PLANTED = """
import json, sys
import torch, planted_kernels
from diffsda.bench import aot
from diffsda.bench.on_paper import Launch
from diffsda.kernels.launch import launch, recording

def one(name, block, n=4096, dtype=torch.bfloat16, out=None, **options):
    x = torch.empty(1 << 16, dtype=dtype, device="meta")
    y = torch.empty(1 << 16, dtype=out or dtype, device="meta")
    with recording() as noted:
        options = {"warps": 4, **options}
        launch(getattr(planted_kernels, name), (1,), {"source": x, "target": y, "n": n}, {"BLOCK": block}, **options)
    return Launch("planted", f"{name} {n}", "", noted[0])

f32 = torch.float32
cases = [one("sound", 1024), one("sound", 1024, n=4097), one("narrow", 1024), one("narrow_inside", 1024)]
cases += [one("greedy", 32768, dtype=f32), one("roomy", 128, n=1024, out=f32, warps=8, stages=4), one("broken", 64)]
print(json.dumps([(r["shape"], aot.faults(r), r) for r in aot.check(cases, (90,))]))
"""


@pytest.fixture(scope="module")
def planted():
    done = run("-c", PLANTED)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: (faults, row) for name, faults, row in json.loads(done.stdout.splitlines()[-1])}


def test_a_sound_kernel_has_no_faults(planted):
    faults, row = planted["sound 4096"]
    assert not faults
    assert (row["load_bytes"], row["store_bytes"], row["wide"]) == (16, 16, True)
    assert row["stack"] == row["spills"] == row["shared_bytes"] == 0
    assert 0 < row["registers"] < 64


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param("sound 4097", "loads of 2 and stores of 2 bytes", id="a mask that cuts through vectors"),
        pytest.param("narrow 4096", "loads of 2 and stores of 16 bytes", id="every second element"),
        pytest.param("narrow_inside 4096", "loads of 2", id="narrow in a function that is inlined"),
        pytest.param("greedy 4096", "spills", id="more values than registers"),
        pytest.param("greedy 4096", "bytes of stack", id="spilled values need a stack"),
        pytest.param("roomy 1024", "bytes of shared memory, 232448 there are", id="more shared memory than there is"),
        pytest.param("broken 4096", "does not compile", id="a kernel that does not compile"),
    ],
)
def test_a_planted_fault_is_caught(planted, case, expected):
    assert expected in "; ".join(planted[case][0])


def test_kernels_that_no_plan_gives_a_target_are_named():
    def launch(name, *targets):
        return SimpleNamespace(op="op", specialisation=SimpleNamespace(name=name), targets=targets)

    listed = [launch("everywhere"), launch("large", 90, 100), launch("large", 80)]
    assert aot.planned(listed, (80, 86, 90)) == [(0, 80), (0, 86), (0, 90), (1, 90), (2, 80)]
    (row,) = aot.not_meant(listed, (80, 86, 90))
    assert (row["kernel"], row["target"]) == ("large", "sm_86")
    assert aot.faults(row) == []
    assert "not meant for it" in aot.summary([row])


def test_faults_end_the_command_with_status_1(tmp_path):
    """The whole command, over a kernel of the nets that is spoilt on the way."""
    code = """
import sys, json
from diffsda.bench import aot, aot_cases
from diffsda.kernels.launch import Specialisation
import planted_kernels
from diffsda.bench.on_paper import Launch
s = Specialisation(planted_kernels.narrow, {"source": "*bf16", "target": "*bf16", "n": "i32", "BLOCK": "constexpr"},
                   {"BLOCK": 256}, ("source", "target", "n"), {"num_warps": 4, "num_stages": 1}, (1,))
aot_cases.launches = lambda **_: [Launch("planted", "(7,)", "bfloat16", s)]
sys.exit(aot.main(["--jobs", "2", "--out", sys.argv[1]]))
"""
    done = run("-c", code, str(tmp_path))
    assert done.returncode == 1, done.stderr[-3000:]
    named = [line for line in done.stdout.splitlines() if line.startswith("FAILED planted/narrow (7,) bfloat16 sm_")]
    assert len(named) == 6
    (record,) = tmp_path.glob("*.json")
    rows = json.loads(record.read_text())["rows"]
    wanted = {"kernel", "shape", "target", "registers", "stack", "spills", "shared_bytes", "load_bytes", "store_bytes"}
    assert len(rows) == 6
    assert all(wanted <= set(row) and row["wide"] is False for row in rows)


def test_constants_of_any_kind_fit_into_the_record():
    given = [1, 2.5, True, "x", torch.float32]
    assert json.loads(json.dumps([aot._plain(value) for value in given])) == [1, 2.5, True, "x", "torch.float32"]


def test_an_interpreted_process_is_refused():
    done = run("-m", "diffsda.bench.aot", "--quick", TRITON_INTERPRET="1")
    assert done.returncode == 2
    assert "TRITON_INTERPRET" in done.stderr


def kernels():
    """Return the name of every kernel that an operation starts: jit functions that its other files name."""
    jit, named = set(), set()
    for path in (ROOT / "kernels").glob("*/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if path.name.startswith(("fused", "gluon")):
                if isinstance(node, ast.FunctionDef) and any("jit" in ast.unparse(d) for d in node.decorator_list):
                    jit.add(node.name)
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value).startswith(("fused", "gluon")):
                named.add(node.attr)
    assert len(jit & named) > 20
    return jit & named


def test_every_kernel_compiles_for_two_generations():
    done = run("-m", "diffsda.bench.aot", "--quick")
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
    seen = {line.split()[0].partition("/")[2] for line in done.stdout.splitlines() if "sm_90" in line}
    missing = kernels() - seen
    assert not missing, f"no case leads to {', '.join(sorted(missing))}: add a shape to aot_cases"


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_every_kernel_compiles_at_every_shape_for_every_generation(tmp_path):
    done = run("-m", "diffsda.bench.aot", "--jobs", "2", "--out", str(tmp_path))
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
    (record,) = tmp_path.glob("*.json")
    assert {row["target"] for row in json.loads(record.read_text())["rows"]} >= {"sm_80", "sm_90", "sm_120"}
