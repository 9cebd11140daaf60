"""What the benches and the ahead-of-time check take from the nets: every site, and every kernel there is."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diffsda.bench.sites import NormSite, norm_sites
from diffsda.nn.blocks import Norm
from diffsda.presets import preset

ROOT = Path(__file__).resolve().parents[2]


def test_every_norm_of_the_voxceleb_nets_is_a_site():
    sites = norm_sites(preset("voxceleb"))
    assert sum(sites.values()) == 73 + 51  # denoiser and encoder
    assert sum(n for s, n in sites.items() if s.modulated) == 22
    assert sum(n for s, n in sites.items() if s.act == "none") == 6 + 6
    assert {s.total for s in sites} == {192, 384, 576, 768}
    assert {s.size for s in sites} == {4, 8, 16, 32}


def test_sites_are_those_that_modules_see():
    import diffsda

    recipe = preset("tiny_video")
    model = diffsda.DiffSDA(recipe).eval()
    seen = []
    for module in model.modules():
        if isinstance(module, Norm):
            module.register_forward_pre_hook(lambda m, given: seen.append((m.num_channels, given[0].shape[2], m.act)))
    c = recipe.clips
    x = torch.randn(1, 2, c.channels, c.size, c.size)
    model.denoise(x, 0.5, model.encode(x))
    found = norm_sites(recipe)
    assert sorted((s.total, s.size, s.act) for s in found.elements()) == sorted(seen)
    assert NormSite(4, 4, 8, False, "silu").total == 8


def launched():
    """Return the name of every kernel that the operations' code starts."""
    names = set()
    for path in (ROOT / "kernels").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "launch":
                names |= {n.attr for n in ast.walk(node.args[0]) if isinstance(n, ast.Attribute)}
    # A variable kernel: its values are attributes of the modules of kernels.
    return names


def test_the_ahead_of_time_check_knows_every_kernel():
    pytest.importorskip("triton", reason="needs triton: pip install triton")
    code = "from diffsda.bench.aot_cases import launches\nprint(*sorted({l.specialisation.name for l in launches()}))"
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    missing = launched() - set(done.stdout.split())
    assert not missing, f"no preset leads to {', '.join(sorted(missing))}: add a shape to aot_cases"
