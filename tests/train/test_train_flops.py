"""Operations of a training step: counted by ours, by torch's own counter, and off the published networks."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from training_runs import vector, video

from diffsda.bench.published.operations import flops, operations
from diffsda.model import DiffSDA
from diffsda.presets import preset
from diffsda.train.flops import PASSES, clip_flops, step_flops

RECIPES = {
    "vector, 3 draws": vector(draws=3),
    "vector, causal, one level a clip": vector(draws=2).replace(noise={"per_frame": False}, encoder={"causal": True}),
    "video, a static factor a frame": video().replace(encoder={"shared_static": False}),
    "video": video(),
}


@pytest.mark.parametrize("name", RECIPES)
def test_torchs_counter_counts_the_same(name):
    recipe = RECIPES[name]
    model, frames = DiffSDA(recipe).train(), 5
    want = recipe.clips
    x = torch.randn(1, frames, want.channels, *([want.size] * 2 if want.size else []))
    # Without oneDNN the LSTM is written out in products, which the counter knows.
    with FlopCounterMode(display=False) as counter, torch.backends.mkldnn.flags(enabled=False):
        model.loss(x)
    ours = clip_flops(model, frames)
    assert ours == counter.get_total_flops()
    assert step_flops(model, frames) == PASSES * ours
    assert model.training
    assert not any(m._forward_hooks for m in model.modules()), "what watched is gone"


@pytest.mark.parametrize("name", ["physionet", "tiny_video"])
def test_the_published_networks_need_the_same_but_for_embeddings(name):
    recipe = preset(name)
    published = flops(operations(recipe, "train", 1, 8))
    # Theirs leave out what is small beside the projections: embeddings, and gradients of what needs none.
    assert 1 <= step_flops(DiffSDA(recipe), 8) / published < 1.03
