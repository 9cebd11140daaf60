"""Conditioning as tables: the fold, the packed projections and their start."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from diffsda.nn.embedding import NoiseEmbedding
from diffsda.nn.init import xavier_rows_
from diffsda.nn.mlp import MLPBackbone
from diffsda.nn.modulation import Modulation, fold


@given(seed=st.integers(0, 1000), rows=st.integers(1, 3), channels=st.integers(1, 5))
def test_fold_is_the_two_affine_maps_one_after_the_other(seed, rows, channels):
    draw = torch.Generator().manual_seed(seed)
    h = torch.randn(rows, channels, generator=draw, dtype=torch.float64)
    noise, factor = torch.randn(2, rows, 2 * channels, generator=draw, dtype=torch.float64)
    scale, shift = fold(noise, factor)
    ts, tb = noise.chunk(2, 1)
    fs, fb = factor.chunk(2, 1)
    torch.testing.assert_close(h * scale + shift, (h * (1 + ts) + tb) * (1 + fs) + fb)
    once = fold(noise[0], factor)  # one noise level for all frames
    torch.testing.assert_close(once[0], (1 + ts[:1]) * (1 + fs))
    torch.testing.assert_close(once[1], tb[:1] * (1 + fs) + fb)


def test_packed_projections_are_one_linear_a_block():
    module = Modulation([3, 5], features=8, width=16, factors=4).double()
    for p in module.parameters():
        torch.nn.init.normal_(p)
    c_noise, a = torch.randn(2).double(), torch.randn(6, 4).double()
    noise, factor = module.noise_table(c_noise), module.factor_table(a)
    assert noise.shape == (2, 16)
    assert factor.shape == (6, 16)
    temb, aemb = F.silu(module.embedding(c_noise)), F.silu(module.factor_in(a))
    for part in module.slices():
        for table, proj, embedding in ((noise, module.noise_proj, temb), (factor, module.factor_proj, aemb)):
            for half, start in ((0, 0), (1, 8)):
                rows = slice(start + part.start, start + part.stop)
                wanted = embedding @ proj.weight[rows].T + proj.bias[rows]
                torch.testing.assert_close(table.chunk(2, 1)[half][:, part], wanted)


def test_noise_embedding_by_hand():
    net = NoiseEmbedding(6, 4).double()
    c = torch.tensor([0.3, -1.2]).double()
    angles = 2 * math.pi * c[:, None] * net.freqs[None]
    features = torch.cat([torch.cos(angles), torch.sin(angles)], 1)
    h = F.silu(features @ net.linear1.weight.T + net.linear1.bias)
    torch.testing.assert_close(net(c), F.silu(h @ net.linear2.weight.T + net.linear2.bias))
    assert "freqs" in net.state_dict()
    assert NoiseEmbedding(4000, 4).freqs.std().item() == pytest.approx(16, rel=0.1)


def test_tables_stay_float32_under_autocast():
    net = MLPBackbone(5, 4, width=8, dropout=0.1)
    c_noise, a = torch.randn(2), torch.randn(3, 4)
    plain = net.tables(c_noise, a)
    with torch.autocast("cpu", torch.bfloat16):
        assert net.linears[0](torch.randn(3, 5)).dtype == torch.bfloat16
        mixed, low = net.tables(c_noise, a), net.tables(c_noise, a.to(torch.bfloat16))
    for table in (mixed.noise, mixed.factor, low.factor):
        assert table.dtype == torch.float32
    assert torch.equal(mixed.noise, plain.noise)
    assert torch.equal(mixed.factor, plain.factor)


def test_every_block_starts_with_its_own_bound():
    channels, width = [32, 64, 128], 256
    module = Modulation(channels, features=64, width=width, factors=4)
    for proj in (module.noise_proj, module.factor_proj):
        assert proj.bias.abs().max().item() == 0
        for half in (0, sum(channels)):
            for c, part in zip(channels, module.slices(), strict=True):
                # As the authors' separate Linear(width, 2c): the fan-out is that of one block.
                bound = math.sqrt(6 / (width + 2 * c))
                rows = proj.weight[half + part.start : half + part.stop]
                assert 0.98 * bound < rows.abs().max().item() <= bound
                assert rows.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)


def test_xavier_rows_leaves_other_rows_alone():
    weight = torch.full((6, 100), 9.0)
    xavier_rows_(weight, [slice(0, 2), slice(4, 6)], [2, 500])
    assert (weight[2:4] == 9).all()
    assert weight[:2].abs().max() <= math.sqrt(6 / 102)
    assert weight[4:].abs().max() <= math.sqrt(6 / 600)
