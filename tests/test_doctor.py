"""The doctor finds what is there, what is missing and what is broken, without dying of it."""

import json
import sys

import pytest

from diffsda import doctor
from diffsda.cli import main
from diffsda.doctor import PARTS, Finding, Part, healthy
from diffsda.evaluate.judges.catalogue import parts

WHOLE = ["python", *(part.module for part in PARTS), "cuda", "kernels", "sessions", "torch.compile"]
JUDGES = [finding.name for finding in parts()]


@pytest.fixture(scope="module")
def examined():
    """Return one real look at this machine."""
    return doctor.examine()


def test_every_part_is_reported_once_and_in_words(examined):
    assert [f.name for f in examined] == WHOLE
    for f in examined:
        assert f.status in ("in use", "available", "missing", "broken")
        assert f.name == "python" or f.reason
        assert "\n" not in f.reason
    found = {f.name: f for f in examined}
    import torch

    assert found["torch"] == Finding("torch", "in use", torch.__version__, "networks")
    assert healthy(examined)
    assert (found["cuda"].status == "in use") == torch.cuda.is_available()


def test_missing_parts_come_with_how_to_get_them(examined):
    install = {part.module: part.install for part in PARTS}
    for f in examined:
        if f.status == "missing" and f.name in install:
            assert install[f.name] in f.reason


def test_json_has_every_part_by_name(examined, monkeypatch, capsys):
    monkeypatch.setattr("diffsda.cli.doctor.examine", lambda: examined)
    assert main(["doctor", "--json"]) == 0
    held = json.loads(capsys.readouterr().out)
    assert list(held) == [*WHOLE, *JUDGES]
    for name, value in held.items():
        assert list(value) == ["name", "status", "version", "reason"]
        assert value["name"] == name


def test_text_is_a_line_a_part(examined, monkeypatch, capsys):
    monkeypatch.setattr("diffsda.cli.doctor.examine", lambda: examined)
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*WHOLE, *(name.split()[0] for name in JUDGES)]


@pytest.mark.parametrize("status", ["missing", "broken"])
def test_what_is_needed_and_not_there_makes_the_doctor_fail(status, examined, monkeypatch, capsys):
    sick = [Finding(f.name, status, "", "x") if f.name == "safetensors" else f for f in examined]
    assert not healthy(sick)
    monkeypatch.setattr("diffsda.cli.doctor.examine", lambda: sick)
    assert main(["doctor"]) == 1
    well = [Finding(f.name, status, "", "x") if f.name == "tensorrt" else f for f in examined]
    assert healthy(well)


@pytest.mark.parametrize(
    ("source", "status", "words"),
    [
        ("x = 1", "available", "tests: not used by default"),
        ("raise ImportError('libodd.so: cannot open')", "broken", "ImportError: libodd.so: cannot open"),
        ("import os; os.kill(os.getpid(), 11)", "broken", "killed by signal 11"),
        ("import sys; sys.exit(4)", "broken", "ended with status 4"),
        ("def f(:", "broken", "SyntaxError"),
    ],
)
def test_packages_that_break_when_imported(source, status, words, tmp_path, monkeypatch):
    (tmp_path / "diffsda_probe_package.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = doctor._part(Part("diffsda_probe_package", "no-such-distribution", "tests", False, "pip install it"))
    assert (finding.status, finding.version) == (status, "unknown")
    assert words in finding.reason
    assert "diffsda_probe_package" not in sys.modules


@pytest.mark.parametrize("module", ["diffsda_no_such_package", "diffsda_no_such_package.inner", "sys.inner"])
def test_packages_that_are_not_there(module):
    finding = doctor._part(Part(module, "x", "tests", False, "pip install it"))
    assert (finding.status, finding.version, finding.reason) == ("missing", "", "tests: pip install it")


def test_an_import_that_never_ends(monkeypatch):
    def never(*_args, **options):
        raise doctor.subprocess.TimeoutExpired("python", options["timeout"])

    monkeypatch.setattr(doctor.subprocess, "run", never)
    assert doctor._part(Part("json", "x", "tests", False, "")).status == "broken"
    assert doctor._device().status == "broken"
    assert doctor._kernels().status == "broken"
    assert doctor._sessions().status == "broken"
    assert not doctor.healthy([doctor._sessions()])


APEX = next(part for part in PARTS if part.module == "apex")


def package(folder, *files):
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def test_the_unrelated_apex_of_the_package_index_is_recognised(tmp_path, monkeypatch):
    (tmp_path / "apex").mkdir()
    (tmp_path / "apex" / "__init__.py").write_text("raise ImportError('must not be imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = doctor._part(APEX)
    assert finding.status == "broken"
    assert "another package of that name" in finding.reason
    assert "build from NVIDIA's sources" in finding.reason


def test_an_apex_built_without_its_kernels_is_broken_and_a_whole_one_available(tmp_path, monkeypatch):
    package(tmp_path, "apex/__init__.py", "apex/optimizers/__init__.py", "apex/optimizers/fused_adam.py")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = doctor._part(APEX)
    assert finding.status == "broken"
    assert "No module named 'amp_C'" in finding.reason
    package(tmp_path, "amp_C.py")
    assert doctor._part(APEX).status == "available"


def test_the_kernels_in_use_are_told(monkeypatch):
    monkeypatch.delenv("DIFFSDA_KERNELS", raising=False)
    import torch

    if not torch.cuda.is_available():
        assert doctor._kernels() == Finding("kernels", "in use", "", "torch; on cpu")
    monkeypatch.setenv("DIFFSDA_KERNELS", "torch,heun=triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    told = doctor._kernels()
    assert told.status == "in use"
    assert "torch (group_norm" in told.reason
    assert "triton (heun)" in told.reason


def test_kernels_that_were_asked_for_and_cannot_run_are_broken(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for asked, words in {"triton": "CPU tensors", "adamw=apex": "apex", "attention=xformers": "xformers"}.items():
        monkeypatch.setenv("DIFFSDA_KERNELS", asked)
        told = doctor._kernels()
        assert told.status == "broken"
        assert words in told.reason
        assert not doctor.healthy([told])
    monkeypatch.setenv("DIFFSDA_KERNELS", "adamw=cuda")
    assert doctor._kernels().status == "broken"
    assert "got 'cuda' for adamw, expected one of auto, torch, triton, apex" in doctor._kernels().reason


def test_asking_for_the_kernels_loads_no_triton(monkeypatch):
    asked = []
    monkeypatch.setattr(doctor, "_run", lambda code: (asked.append(code), ("cpu|heun=torch", ""))[1])
    doctor._kernels()
    spoken = doctor.subprocess.run(
        [sys.executable, "-c", asked[0] + "; print('triton' in sys.modules)"], capture_output=True, text=True
    )
    assert spoken.stdout.split()[-1] == "False", spoken.stderr


def test_sessions_are_told_as_they_would_run(examined):
    import torch

    told = {f.name: f for f in examined}["sessions"]
    assert told.status == "in use"
    if not torch.cuda.is_available():
        assert told.reason == "video: float32, contiguous, eager; vectors: float32, eager; on cpu"


def test_presets_with_a_way_of_their_own_are_named(monkeypatch):
    lines = [
        "cuda",
        "unet,mug,bf16,channels_last,compile",
        "unet,taichi,bf16,channels_last,graph",
        "unet,voxceleb,bf16,channels_last,graph",
        "mlp,timit,float32,channels_last,graph",
    ]
    monkeypatch.setattr(doctor, "_run", lambda code: ("a warning\n" + "|".join(lines), ""))
    assert doctor._sessions().reason == (
        "video: bf16, channels_last, graph; mug: bf16, channels_last, compile; vectors: float32, graph; on cuda"
    )


def executable(path):
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("cuda", "compiler", "variable"), [(False, "g++", "CXX"), (True, "gcc", "CC")])
def test_torch_compile_needs_a_compiler(cuda, compiler, variable, tmp_path, monkeypatch):
    (tmp_path / "Python.h").write_text("")
    monkeypatch.setattr(doctor.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(doctor, "_part", lambda part: Finding(part.module, "available", "", ""))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(variable, raising=False)
    told = doctor.compiling(cuda)
    assert told.status == "missing"
    assert f"there is no {compiler}: apt install {compiler}" in told.reason
    assert variable in told.reason
    executable(tmp_path / compiler)
    assert doctor.compiling(cuda) == Finding(
        "torch.compile", "available", "", f"for --route compile; builds with {compiler}"
    )
    monkeypatch.setenv(variable, "my-compiler")
    assert doctor.compiling(cuda).status == "missing"
    executable(tmp_path / "my-compiler")
    assert doctor.compiling(cuda).status == "available"
    (tmp_path / "Python.h").unlink()
    assert doctor.compiling(cuda) == Finding(
        "torch.compile", "missing", "", "there is no Python.h: apt install python3-dev"
    )


@pytest.mark.parametrize("status", ["missing", "broken"])
def test_torch_compile_needs_triton_on_cuda_alone(status, monkeypatch):
    monkeypatch.setattr(doctor, "_part", lambda part: Finding(part.module, status, "", f"{part.module} is {status}"))
    assert doctor.compiling(True) == Finding("torch.compile", status, "", f"triton is {status}")
    assert "triton" not in doctor.compiling(False).reason
