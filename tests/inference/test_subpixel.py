"""Doubling and convolving as one small convolution."""

import pytest
import torch
import torch.nn.functional as F

from diffsda.inference.subpixel import phase_weights, upsample


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 7), (8, 8)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "channels_last"])
def test_it_is_the_doubled_image_convolved(size, layout):
    x, weight, bias = torch.randn(3, 6, *size), torch.randn(5, 6, 3, 3), torch.randn(5)
    x, weight, bias = (t.double() for t in (x, weight, bias))
    wanted = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, bias, padding=1)
    phases = phase_weights(weight).contiguous(memory_format=layout)
    given = upsample(x.contiguous(memory_format=layout), phases, bias)
    assert given.shape == wanted.shape
    assert torch.allclose(given, wanted, rtol=0, atol=1e-12)


def test_nothing_is_copied_afterwards_for_channels_last():
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    y = upsample(x, phase_weights(torch.randn(8, 4, 3, 3)).contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_weights_are_summed_in_double_precision():
    weight = torch.tensor([1.0, 1e8, -1e8]).expand(1, 1, 3, 3).contiguous()
    # Odd phase, own pixel: taps 0 and 1; even phase, own pixel: taps 1 and 2, which cancel exactly.
    phases = phase_weights(weight)
    assert phases.shape == (4, 1, 2, 2)
    assert float(phases[0, 0, 1, 1]) == 0.0
