"""Graph capture of the nets: compiled whole, and exported to ONNX on the reference path whatever the switch says."""

import pytest
import torch

from diffsda.kernels import attention, backend, film_layer_norm, group_norm


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.conv = torch.nn.GroupNorm(4, 16), torch.nn.Conv2d(16, 48, 1)
        self.rows = torch.nn.LayerNorm(16)

    def forward(self, x, scale, shift):
        y = group_norm(x, self.norm.weight, self.norm.bias, groups=4, scale=scale, shift=shift)
        q, k, v = self.conv(y).flatten(2).transpose(1, 2).chunk(3, dim=-1)
        y = attention(q, k, v)
        return film_layer_norm(y.mean(1), self.rows.weight, self.rows.bias, scale=scale, shift=shift)


def inputs():
    return torch.randn(2, 16, 4, 4), torch.randn(2, 16), torch.randn(2, 16)


def test_compiled_whole_by_default():
    block, given = Block().eval(), inputs()
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*given), block(*given))
    torch._dynamo.reset()


@pytest.mark.parametrize("choice", ["auto", "triton"])
def test_exported_on_the_reference_path(tmp_path, choice):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    block, given = Block().eval(), inputs()
    path = tmp_path / "block.onnx"
    with backend(choice):
        torch.onnx.export(block, given, path, dynamo=True, opset_version=21, input_names=["x", "scale", "shift"])
    operations = {node.op_type for node in onnx.load(path).graph.node}
    assert "GroupNormalization" in operations
    assert not {o for o in operations if "diffsda" in o}
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    got = session.run(None, {k: v.numpy() for k, v in zip(("x", "scale", "shift"), given)})[0]
    torch.testing.assert_close(torch.from_numpy(got), block(*given).detach(), rtol=1e-4, atol=1e-5)
