"""How group_norm calls are cut: whole groups, whole vectors, what fits where."""

import itertools

import pytest

from diffsda.kernels.group_norm.plan import RESIDENT, plan, shared_slab

WIDTHS = (64, 128, 192, 256, 384, 576, 768)
PIXELS = (16, 64, 256, 1024, 4096, 49, 1023)


@pytest.mark.parametrize(("channels", "pixels"), list(itertools.product(WIDTHS, PIXELS)))
def test_every_norm_of_the_nets(channels, pixels):
    for samples, last, backward, item in itertools.product((1, 10, 160, 5000), (True, False), (True, False), (2, 4)):
        cut = plan(samples, channels, 32, pixels, last=last, backward=backward, processors=132, item=item)
        assert channels % cut.slab == cut.slab % (channels // 32) == 0
        assert cut.slab % 8 == 0 or not last  # 16-byte rows of 16-bit types
        assert cut.width >= cut.slab
        assert cut.width & (cut.width - 1) == cut.pixels & (cut.pixels - 1) == 0
        assert (cut.splits - 1) * cut.chunk < pixels <= cut.splits * cut.chunk
        assert cut.chunk % cut.pixels == 0
        if cut.resident:
            assert pixels <= cut.pixels
            assert cut.pixels * cut.width * item <= RESIDENT
        per_thread = cut.pixels * cut.width / (32 * cut.warps)
        assert per_thread <= (16 if backward and not cut.resident else 32)


def test_small_batches_fill_the_device_and_large_ones_are_not_split():
    few = plan(1, 192, 32, 1024, last=True, backward=False, processors=132)
    assert few.splits == 8
    many = plan(160, 192, 32, 1024, last=True, backward=False, processors=132)
    assert many.splits == 1


@pytest.mark.parametrize(
    ("channels", "pixels", "item", "parts"),
    [
        (192, 1024, 2, (32, 16)),
        (576, 1024, 2, (64, 8)),
        (64, 4096, 2, (16, 0)),
        (192, 1024, 4, (16, 8)),
        (256, 1024, 2, (32, 0)),  # 48 does not divide 256
    ],
)
def test_slabs_in_shared_memory(channels, pixels, item, parts):
    slab = shared_slab(channels, 32, pixels, item, 227 * 1024)
    assert slab is not None
    assert (slab.first, slab.second) == parts
    assert slab.channels * pixels * item < 227 * 1024
    assert slab.chunk * slab.chunks == pixels


def test_what_does_not_fit_into_shared_memory_is_left():
    assert shared_slab(576, 32, 1024, 2, 99 * 1024) is None  # 72 channels are 144 KiB
    assert shared_slab(192, 32, 256, 2, 227 * 1024) is None  # stays in registers
    assert shared_slab(192, 32, 1023, 2, 227 * 1024) is None  # no whole chunks
