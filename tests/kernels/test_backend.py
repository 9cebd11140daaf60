"""The switch: what runs where, how it is chosen, and that what cannot run says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diffsda import kernels
from diffsda.errors import InputError, MissingPackage
from diffsda.kernels import backend, group_norm, launch, use
from diffsda.kernels.backend import BACKENDS, chosen, resolve

ROOT = Path(__file__).resolve().parents[2]
SWITCH = sys.modules["diffsda.kernels.backend"]  # the package's attribute of that name is the context manager
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_auto_takes_the_reference_on_the_cpu_and_compares_on_cuda():
    assert {resolve(op, CPU) for op in BACKENDS} == {"torch"}
    assert {resolve(op, CUDA) for op in BACKENDS} == {"compare"}


def test_auto_without_triton_takes_the_reference(monkeypatch):
    monkeypatch.setattr(SWITCH, "INSTALLED", False)
    assert resolve("heun", CUDA) == "torch"


def test_auto_trusts_a_record(monkeypatch):
    monkeypatch.setattr(SWITCH, "PROVEN", {"A GPU": frozenset({"heun"})})
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A GPU")
    assert resolve("heun", CUDA) == "triton"
    assert resolve("adamw", CUDA) == "compare"


def test_choices_nest_and_end():
    with backend("triton", attention="sdpa"):
        assert chosen("group_norm") == "triton"
        assert chosen("attention") == "torch"
        with backend(adamw="apex"):
            assert (chosen("adamw"), chosen("group_norm")) == ("apex", "triton")
        with pytest.raises(KeyError), backend("torch"):
            raise KeyError
        assert chosen("adamw") == "triton"
    assert {chosen(op) for op in BACKENDS} == {"auto"}
    use("torch")
    try:
        assert chosen("heun") == "torch"
    finally:
        use("auto")


@pytest.mark.parametrize(
    "call",
    [
        lambda t: kernels.group_norm(t.numpy(), t[0], t[0], groups=2),
        lambda t: kernels.group_norm(t, None, None, groups=2),
        lambda t: kernels.group_norm(t, t[0], t[0], groups=2.0),
        lambda t: kernels.film_layer_norm([1.0], t, t),
        lambda t: kernels.precondition(t, t, 0.5),
        lambda t: kernels.edm_loss(t, t, t, 0.5),
        lambda t: kernels.attention(t, t, 3),
        lambda t: kernels.nearest_code(t, None),
    ],
)
def test_what_is_no_tensor_is_refused(call):
    with pytest.raises(InputError, match="got"):
        call(torch.randn(2, 4))


@pytest.mark.parametrize(
    ("name", "operations", "said"),
    [
        ("cuda", {}, "expected auto, torch or triton"),
        ("xformers", {}, "attention=xformers"),
        (None, {"norm": "torch"}, "operation 'norm'"),
        (None, {"heun": "apex"}, "'apex' for heun"),
    ],
)
def test_unknown_names_are_refused(name, operations, said):
    with pytest.raises(InputError, match=said):
        use(name, **operations)
    assert {chosen(op) for op in BACKENDS} == {"auto"}


def run_in_process(code, **variables):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    environment.pop("TRITON_INTERPRET", None)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


def test_the_environment_chooses_for_a_process():
    code = "from diffsda.kernels.backend import chosen; print(chosen('heun'), chosen('adamw'))"
    assert run_in_process(code, DIFFSDA_KERNELS="triton, adamw=apex").stdout.split() == ["triton", "apex"]
    assert run_in_process(code).stdout.split() == ["auto", "auto"]
    both = run_in_process(code, DIFFSDA_KERNELS="triton,torch")
    assert "after 'triton'" in both.stderr
    wrong = run_in_process(code, DIFFSDA_KERNELS="tritn")
    assert wrong.returncode != 0
    assert "got 'tritn'" in wrong.stderr


def test_asked_for_and_impossible_is_an_error_not_a_fallback():
    code = """
import torch
from diffsda.kernels import backend, group_norm
x, one = torch.randn(1, 8, 2, 2), torch.ones(8)
for name in ({"": "triton"}, {"group_norm": "gluon"}):
    try:
        with backend(name.pop("", None), **name):
            group_norm(x, one, one, groups=2)
    except RuntimeError as error:
        print(error)
"""
    said = run_in_process(code).stdout.splitlines()
    assert len(said) == 2, said
    assert all("CPU tensors" in line or "on cpu" in line for line in said)


def test_a_training_that_cannot_run_is_refused_before_it_leaves_anything(tmp_path):
    run = tmp_path / "run"
    code = f"from diffsda.cli import main; main('train tiny_vector --data series --out {run}'.split())"
    done = run_in_process(code, DIFFSDA_KERNELS="triton")
    assert "CPU tensors" in done.stderr
    assert not run.exists()


def test_without_triton_asking_for_it_names_the_package(monkeypatch):
    monkeypatch.setattr(launch, "INSTALLED", False)
    one = torch.ones(8)
    with backend("triton"), pytest.raises(MissingPackage, match="pip install triton"):
        group_norm(torch.randn(1, 8, 2, 2), one, one, groups=2)


def test_nothing_imports_triton_before_a_kernel_is_launched():
    code = """
import sys, torch, diffsda.kernels as k
x, one = torch.randn(1, 8, 2, 2), torch.ones(8)
k.group_norm(x, one, one, groups=2)
assert "triton.language" not in sys.modules
"""
    done = run_in_process(code)
    assert done.returncode == 0, done.stderr


def test_export_knows_only_the_reference(monkeypatch):
    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    with backend("triton"):
        assert resolve("group_norm", CUDA) == "torch"
