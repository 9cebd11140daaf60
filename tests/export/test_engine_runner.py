"""Engines are opened, warmed and called in the order TensorRT asks for; against a stand-in for it."""

import json

import pytest
import torch
from engine_standin import exported, standin

from diffsda.errors import DiffSDAError, InputError
from diffsda.export import engine_name, engine_plan, engine_runner
from diffsda.export.engine import BuildOptions, build_engine
from diffsda.export.engine_name import Tile
from diffsda.export.engine_runner import EngineRunner, open_engine

CPU = torch.device("cpu")
TILE = Tile(4, 10)


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    """Put the CPU in a GPU's place; return how often the device was waited for."""
    waited = []
    for module in (engine_plan, engine_name):
        monkeypatch.setattr(module, "device_architecture", lambda: "sm90")
    monkeypatch.setattr(engine_runner, "current_stream", lambda device: 77)
    monkeypatch.setattr(engine_runner, "finish", waited.append)
    return waited


@pytest.fixture
def folder(tmp_path):
    return exported(tmp_path / "model")


def built(folder, **options):
    library = standin()[0]
    return build_engine(folder, "network", TILE, library=library, options=BuildOptions(**options), rebuild=True).path


def given(**shapes):
    return {
        n: torch.zeros(shapes.get(n, s)) for n, s in {"x": (40, 3, 8, 8), "scale": (40, 8), "shift": (40, 8)}.items()
    }


def test_an_engine_is_warmed_and_called_in_the_right_order(folder, gpu):
    library, seen = standin()
    built(folder)
    run = open_engine(folder, "network", TILE, device=CPU, library=library)
    assert gpu == [CPU]
    assert run.inputs["x"] == ((40, 3, 8, 8), torch.float32)
    once = [*(("set_tensor_address", n) for n in ("x", "scale", "shift", "f")), ("execute_async_v3", 77)]
    start = [
        ("set_input_shape", "x", (40, 3, 8, 8)),
        ("set_input_shape", "scale", (40, 8)),
        ("set_input_shape", "shift", (40, 8)),
        ("infer_shapes",),
    ]
    assert seen.calls == start + once
    found = run(**given())
    assert {n: (t.shape, t.dtype) for n, t in found.items()} == {"f": (torch.Size([2, 3]), torch.float32)}
    assert seen.calls == start + once + once
    assert gpu == [CPU]  # Calls do not wait.
    assert seen.runtimes[0].engine_host_code_allowed is False


def test_every_call_has_outputs_of_its_own(folder):
    run = EngineRunner(built(folder), device=CPU, library=standin()[0])
    first, second = run(**given()), run(**given())
    assert first["f"].data_ptr() != second["f"].data_ptr()


def test_inputs_that_are_spread_out_are_copied_and_the_copy_is_what_runs(folder, monkeypatch):
    library, seen = standin()
    run = EngineRunner(built(folder), device=CPU, library=library)
    addresses = {}
    monkeypatch.setattr(
        seen.IExecutionContext, "set_tensor_address", lambda self, n, a: addresses.update({n: a}) or True
    )
    monkeypatch.setattr(seen.IExecutionContext, "execute_async_v3", lambda self, stream: True)
    inputs = {**given(), "x": torch.zeros(40, 8, 8, 3).permute(0, 3, 1, 2)}
    run(**inputs)
    assert addresses["x"] != inputs["x"].data_ptr()
    assert addresses["scale"] == inputs["scale"].data_ptr()


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (lambda: {"x": torch.zeros(1)}, r"got \['x'\], expected \['scale', 'shift', 'x'\]"),
        (lambda: given(x=(8, 3, 8, 8)), r"x: got \(8, 3, 8, 8\) .* expected \(40, 3, 8, 8\)"),
        (lambda: {**given(), "scale": torch.zeros(40, 8).half()}, r"scale: got .*float16.* expected .*float32"),
        (lambda: {**given(), "shift": torch.zeros(40, 8, device="meta")}, r"on meta, expected .* on cpu"),
    ],
)
def test_other_inputs_are_refused_by_name(folder, inputs, said):
    library, seen = standin()
    run = EngineRunner(built(folder), device=CPU, library=library)
    before = list(seen.calls)
    with pytest.raises(InputError, match=said):
        run(**inputs())
    assert seen.calls == before


def test_a_version_compatible_engine_may_bring_its_code(folder):
    library, seen = standin()
    EngineRunner(built(folder, version_compatible=True), device=CPU, library=library)
    assert seen.runtimes[0].engine_host_code_allowed is True


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"reads": False}, r"TensorRT cannot read it \(wrong magic\); build it again here"),
        ({"no_context": True}, "no context could be made, most often for want of GPU memory"),
        ({"no_run": True}, "it does not run"),
    ],
)
def test_what_tensorrt_refuses_is_said_with_the_engines_name(folder, fault, said):
    path = built(folder)
    with pytest.raises(DiffSDAError, match=said) as caught:
        EngineRunner(path, device=CPU, library=standin(**fault)[0])
    assert str(caught.value).startswith(path.name)


def test_engines_of_elsewhere_are_refused_before_they_are_read(folder, monkeypatch):
    path = built(folder)
    with pytest.raises(InputError, match=r"was built by trt10\.16\.1\.11, got trt11\.4\.0\.106 here"):
        EngineRunner(path, device=CPU, library=standin(version="11.4.0.106")[0])
    monkeypatch.setattr(engine_name, "device_architecture", lambda: "sm80")
    with pytest.raises(InputError, match="was built for sm90, got a GPU of sm80 here"):
        open_engine(folder, "network", TILE, device=CPU, library=standin()[0])
    path.write_bytes(b"")
    with pytest.raises(InputError, match="truncated"):
        EngineRunner(path, device=CPU, library=standin()[0])


def test_weights_are_replaced_where_the_engine_was_built_for_it(folder, tmp_path):
    library, seen = standin()
    fixed = EngineRunner(built(folder), device=CPU, library=library)
    other = tmp_path / "other.onnx"
    other.write_text(json.dumps({}))
    with pytest.raises(InputError, match="cannot take other weights; build it again with refit"):
        fixed.refit(other)
    run = EngineRunner(built(folder, refit=True), device=CPU, library=library)
    run.refit(other)
    assert seen.refits == [str(other)]
    other.write_text(json.dumps({"errors": [["of another shape", "conv_1", "Conv"]]}))
    with pytest.raises(InputError, match=r"do not fit .*node 'conv_1' \(Conv\): of another shape"):
        run.refit(other)
