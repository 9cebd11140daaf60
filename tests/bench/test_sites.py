"""What the benches take from the nets: every norm there is."""

from __future__ import annotations

import torch

from diffsda.bench.sites import NormSite, norm_sites
from diffsda.nn.blocks import Norm
from diffsda.presets import preset


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
