"""The floor lists what the authors' networks compute, less the conditioning, and times it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffsda.bench import floor as module
from diffsda.bench.executions import parts
from diffsda.bench.floor import Floor, Operation, floor, flops, operations, seconds
from diffsda.errors import InputError
from diffsda.recipe import Backbone, Clips, Encoder, Optim, Recipe, Sampling

COUNTS = json.loads((Path(__file__).resolve().parents[1] / "golden" / "full_size_counts.json").read_text())
FULL = {
    "vox1": Recipe(
        clips=Clips(modality="video", channels=4, size=32),
        backbone=Backbone(kind="unet", width=192),
        encoder=Encoder(width=192, static=512, dynamic=12, hidden=1024),
    ),
    "mug": Recipe(
        clips=Clips(modality="video", channels=3, size=64),
        backbone=Backbone(kind="unet", width=64),
        encoder=Encoder(width=64, static=256, dynamic=64, hidden=128),
    ),
    "physionet": Recipe(
        clips=Clips(channels=10),
        backbone=Backbone(width=256),
        encoder=Encoder(width=96, static=24, dynamic=2, hidden=96),
        sampling=Sampling(steps=24),
        optim=Optim(draws=10),
    ),
    "libri_paper": Recipe(
        clips=Clips(channels=80),
        backbone=Backbone(width=64),
        encoder=Encoder(width=128, static=32, dynamic=2, hidden=256),
    ),
}
SMALL_SERIES = Recipe(
    clips=Clips(channels=5),
    backbone=Backbone(width=8),
    encoder=Encoder(width=8, hidden=12),
    sampling=Sampling(steps=4),
    optim=Optim(draws=3),
)
SMALL_VIDEO = Recipe(
    clips=Clips(modality="video", channels=3, size=8),
    backbone=Backbone(kind="unet", width=32, multipliers=(1, 1), attention=(1,), blocks=1),
    encoder=Encoder(width=32, multipliers=(1, 1), attention=(1,), blocks=1, hidden=12),
    sampling=Sampling(steps=4),
)


def modulated_channels(recipe):
    """Channels of every modulated site, by hand: U-Net blocks down, in the middle and up, or MLP layers."""
    net = recipe.backbone
    if net.kind == "mlp":
        return [4 * net.width] * 4
    levels = [net.width * m for m in net.multipliers]
    return [c for c in levels for _ in range(2 * net.blocks + 1)] + [levels[-1]] * 2


def conditioning_flops(recipe):
    """Operations a frame of all that conditions: noise embedding, fc_a, two projections a site."""
    fourier = recipe.backbone.width if recipe.backbone.kind == "unet" else 64
    tdim = 4 * fourier
    factors = recipe.encoder.static + recipe.encoder.dynamic
    embed = fourier * tdim + tdim * tdim + factors * tdim
    return 2 * (embed + sum(2 * tdim * 2 * c for c in modulated_channels(recipe)))


@pytest.mark.parametrize("name", FULL)
def test_denoise_flops_are_the_recorded_less_the_conditioning(name):
    per_frame = COUNTS[name]["nfe_flops_per_frame"]
    listed = flops(operations(FULL[name], "denoise", 2, 3))
    assert listed == 2 * 3 * (per_frame - conditioning_flops(FULL[name]))


@pytest.mark.parametrize("name", FULL)
def test_encode_flops_are_the_recorded(name):
    frames = COUNTS[name]["frames"]
    assert flops(operations(FULL[name], "encode", 1, frames)) == COUNTS[name]["enc_flops_per_seq"]


@pytest.mark.parametrize("name", ["vox1", "physionet"])
def test_sample_is_its_evaluations_and_two_tables(name):
    recipe, batch, frames = FULL[name], 2, 5
    steps = recipe.sampling.steps
    tdim = 4 * (recipe.backbone.width if recipe.backbone.kind == "unet" else 64)
    wide = 2 * sum(modulated_channels(recipe))
    assert 2 * steps - 1 == COUNTS[name]["nfe"]
    listed = operations(recipe, "sample", batch, frames)
    for rows in (steps, batch * frames):
        assert Operation("product", (1, rows, tdim, wide)) in listed
    once = flops(operations(recipe, "denoise", batch, frames))
    tables = 2 * (steps + batch * frames) * tdim * wide
    assert flops(listed) == (2 * steps - 1) * once + tables


@pytest.mark.parametrize("recipe", [SMALL_SERIES, SMALL_VIDEO], ids=["series", "video"])
def test_train_encodes_once_and_denoises_every_draw(recipe):
    batch, frames, draws = 2, 4, recipe.optim.draws
    listed = operations(recipe, "train", batch, frames)
    encode = flops(operations(recipe, "encode", batch, frames))
    network = flops(operations(recipe, "denoise", draws * batch, frames))
    tdim = 4 * (recipe.backbone.width if recipe.backbone.kind == "unet" else 64)
    tables = 2 * (draws + 1) * batch * frames * tdim * 2 * sum(modulated_channels(recipe))
    # Each gradient costs as much as the forward pass; the clip itself needs none at the first layer of a net.
    first = sum(flops([replace(op, backward="none")]) for op in listed if op.backward == "weight")
    assert first > 0
    assert flops(listed) == 3 * (encode + network + tables) - first


def test_known_costs():
    assert flops([Operation("product", (2, 3, 4, 5), count=7)]) == 7 * 2 * 2 * 3 * 4 * 5
    assert flops([Operation("conv", (2, 3, 8, 8, 5, 3, 2))]) == 2 * 2 * 16 * 3 * 5 * 9
    conv = Operation("conv", (1, 3, 8, 8, 5, 1, 1), "weight")
    assert flops([conv]) == 2 * flops([replace(conv, backward="none")])
    assert flops([replace(conv, backward="both")]) == 3 * flops([replace(conv, backward="none")])


def test_lists_are_distinct_and_independent_of_the_state_of_torch():
    before = torch.get_rng_state()
    listed = operations(SMALL_VIDEO, "train", 2, 3)
    assert len({replace(op, count=1) for op in listed}) == len(listed)
    assert listed == operations(SMALL_VIDEO, "train", 2, 3)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_default_device() == torch.device("cpu")


@pytest.mark.parametrize("recipe", [SMALL_SERIES, SMALL_VIDEO], ids=["series", "video"])
def test_floor_times_every_part(recipe):
    found = floor(recipe, 2, 4, repeats=1)
    assert set(found) == {"encode", "denoise", "sample", "train"}
    assert all(0 < value < 60 for value in found.values())
    assert found["sample"] > found["denoise"]


def stand_in_clock(monkeypatch, taken):
    """Let a series take what ``taken`` says of its call, by name; every call runs once, as operands must fit."""

    def stopwatch(call, device, least):
        call()
        return lambda: taken(call)

    monkeypatch.setattr(module, "stopwatch", stopwatch)


def test_a_floor_counts_repetitions_and_times_a_shape_once(monkeypatch):
    stand_in_clock(monkeypatch, lambda call: 0.5)
    conv = Operation("conv", (1, 3, 8, 8, 4, 3, 2), "both", count=3)
    product = Operation("product", (2, 3, 4, 5), "weight", count=2)
    every = Floor([conv, product, replace(conv, count=1)])
    assert len(every.parts) == 4  # forward and backward of each
    assert every() == every.seconds == 0.5 * (2 * 4 + 2 * 2)
    assert seconds([conv, product], 1, dtype=torch.bfloat16) == 0.5 * (2 * 3 + 2 * 2)
    assert every.table()[0]["all_milliseconds"] == 2000.0


def test_a_floor_keeps_the_best_round_of_every_part(monkeypatch):
    times = iter([9.0, 4.0, 2.0, 6.0])
    stand_in_clock(monkeypatch, lambda call: next(times))
    every = Floor([Operation("product", (1, 3, 4, 5), count=2)])  # one way only: compared once
    assert [every(), every(), every()] == [8.0, 4.0, 12.0]
    assert every.seconds == 4.0


def test_the_fastest_way_is_chosen_and_one_that_cannot_run_is_left_out(monkeypatch):
    pointwise = Operation("conv", (1, 3, 8, 8, 4, 1, 1))
    monkeypatch.setattr(module, "parts", lambda *_, **__: [{"a": slow, "b": fast, "c": broken}])
    stand_in_clock(monkeypatch, lambda call: 1.0 if call is fast else 2.0)
    (part,) = Floor([pointwise]).parts
    assert (part.way, part.first) == ("b", {"a": 2.0, "b": 1.0})
    assert Floor([pointwise], ways=lambda *_: [{"d": fast}]).parts[0].way == "b"


def slow():
    return None


def fast():
    return 1


def broken():
    raise RuntimeError("no kernel for these types")


def test_ways_of_a_convolution():
    here = torch.device("cpu"), torch.float32
    doubled = Operation("conv", (2, 3, 8, 8, 4, 3, 1), "both", doubled=True)
    forward, backward = parts(doubled, *here)
    assert {name.partition(" ")[0] for name in forward} == {"nchw", "nhwc", "phases", "together", "transposed"}
    assert set(backward) == {"nchw", "nhwc"}
    shape = {name: call().shape for name, call in forward.items() if not name.startswith("phases")}
    assert shape["nchw"] == shape["nhwc"] == shape["transposed nhwc"] == (2, 4, 8, 8)
    assert shape["together nchw"] == (2, 16, 5, 5)
    assert [set(ways) for ways in parts(doubled, *here, plain=True)] == [{"nchw", "nhwc"}] * 2
    pointwise = parts(Operation("conv", (2, 3, 8, 8, 4, 1, 1), "weight"), *here)
    assert [set(ways) for ways in pointwise] == [{"nchw", "nhwc", "product"}] * 2
    assert pointwise[0]["product"]().shape == (2 * 8 * 8, 4)


def test_doubled_pixels_and_joint_products_are_known():
    listed = operations(SMALL_VIDEO, "denoise", 2, 3)
    assert [op.shape for op in listed if op.doubled] == [(6, 32, 8, 8, 32, 3, 1)]
    assert (6, 32, 4, 4, 96, 1, 1) in [op.shape for op in listed]  # queries, keys and values
    assert (6, 32, 4, 4, 32, 1, 1) in [op.shape for op in listed]


@pytest.mark.parametrize("given", [("decode", 1, 1), ("encode", 0, 1), ("encode", 1, 0)])
def test_refuses_what_it_cannot_list(given):
    with pytest.raises(InputError, match="expected one of encode"):
        operations(SMALL_SERIES, *given)
