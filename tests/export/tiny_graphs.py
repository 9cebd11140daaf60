"""Small ONNX files of the names and shapes an exported model has, made from torch."""

import warnings

import torch
from plain_manifest import describe
from torch import nn
from torch.nn import functional as F


class Network(nn.Module):
    """x (N, 3, 16, 16), scale and shift (N, 8) -> like x; two group norms, float32 outside."""

    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype
        self.into, self.middle, self.out = (nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 8), (8, 8), (8, 3)))
        self.first, self.second = nn.GroupNorm(4, 8), nn.GroupNorm(4, 8)
        self.to(dtype)

    def forward(self, x, scale, shift):
        x, scale, shift = (t.to(self.dtype) for t in (x, scale, shift))
        h = F.silu(self.first(self.into(x)) * scale[:, :, None, None] + shift[:, :, None, None])
        return self.out(F.silu(self.second(self.middle(h)))).float()


class Denoise(nn.Module):
    """x (N, 3, 16, 16), sigma (N,), static (N, 4), dynamic (N, 4) -> like x."""

    def __init__(self, dtype):
        super().__init__()
        self.network = Network(dtype)

    def forward(self, x, sigma, static, dynamic):
        level = 1 / (0.25 + sigma.reshape(-1, 1, 1, 1) ** 2).sqrt()
        factors = torch.cat([dynamic, static], 1)
        return level * self.network(level * x, factors, -factors)


class Encoder(nn.Module):
    """x (B, V, 3, 16, 16) -> static (B, 4), dynamic (B, V, 2)."""

    def __init__(self, dtype):
        super().__init__()
        self.dtype, self.norm, self.conv = dtype, nn.GroupNorm(2, 6), nn.Conv2d(3, 6, 4, 4)
        self.to(dtype)

    def forward(self, x):
        h = self.norm(self.conv(x.flatten(0, 1).to(self.dtype))).float()
        h = h.mean((2, 3)).reshape(x.shape[0], x.shape[1], 6)
        return h.mean(1)[:, :4], h[:, :, 4:]


def written(folder, precision="float32", names=("network", "denoise", "encoder")):
    """Write an exported folder of these graphs, opset 21, free axes named."""
    dtype = {"float32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    image = (3, 16, 16)
    row, clip = {0: "frames"}, {0: "clips", 1: "length"}
    graphs = {
        "network": (Network, ("x", "scale", "shift"), ("f",), [(4, *image), (4, 8), (4, 8)], row),
        "denoise": (
            Denoise,
            ("x", "sigma", "static", "dynamic"),
            ("denoised",),
            [(4, *image), (4,), (4, 4), (4, 4)],
            row,
        ),
        "encoder": (Encoder, ("x",), ("static", "dynamic"), [(2, 5, *image)], clip),
    }
    folder.mkdir(exist_ok=True)
    described = {}
    for name in names:
        make, inputs, outputs, shapes, axes = graphs[name]
        torch.manual_seed(0)
        module = make(dtype).eval()
        free = {axis: torch.export.Dim(label, min=1, max=4096) for axis, label in axes.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                tuple(torch.rand(*shape) for shape in shapes),
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=tuple(free for _ in shapes),
                opset_version=21,
                dynamo=True,
                verbose=False,
            )
        program.save(folder / f"{name}.onnx")
        value = program.model_proto.graph
        ways = (
            {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in way}
            for way in (value.input, value.output)
        )
        described[name] = tuple(ways)
    describe(folder, described, precision=precision)
    return folder
