"""The moving average of the weights: its numbers, and which file holds them."""

import pytest
import torch
from torch import nn
from training_runs import assert_same, clips, state_of, vector

from diffsda.checkpoint import load
from diffsda.train.ema import Average
from diffsda.train.loop import Options, train


def scalar(value):
    model = nn.Linear(1, 1, bias=False)
    model.register_buffer("steps", torch.zeros(1))
    model.weight.data.fill_(value)
    return model


def follow(decay, values):
    model = scalar(1.0)
    average = Average(model, decay)
    seen = []
    for value in values:
        model.weight.data.fill_(value)
        average.update(model)
        seen.append(float(average.weights["weight"]))
    return seen, average, model


def test_three_updates_by_hand():
    seen, average, _ = follow(0.999, [2.0, 4.0, 8.0])
    first = 1 / 10 * 1.0 + 9 / 10 * 2.0
    second = 2 / 11 * first + 9 / 11 * 4.0
    third = 3 / 12 * second + 9 / 12 * 8.0
    assert seen == pytest.approx([first, second, third], rel=1e-6)
    assert average.updates == 3


def test_the_decay_never_passes_its_value():
    seen, _, _ = follow(0.15, [2.0, 4.0, 8.0])
    first = 0.1 * 1.0 + 0.9 * 2.0
    second = 0.15 * first + 0.85 * 4.0
    assert seen == pytest.approx([first, second, 0.15 * second + 0.85 * 8.0], rel=1e-6)


def test_the_average_is_no_view_of_the_weights_and_buffers_are_the_models():
    _, average, model = follow(0.9, [2.0])
    held = average.weights["weight"].clone()
    model.weight.data.fill_(100.0)
    model.steps.fill_(7.0)
    full = average.state_dict(model)
    assert torch.equal(full["weight"], held)
    assert float(full["steps"]) == 7.0
    assert list(full) == list(model.state_dict())


def test_the_model_file_holds_the_average_and_the_state_the_raw_weights(tmp_path):
    recipe = vector(ema=0.9, steps=4)
    data = clips(recipe)
    result = train(recipe, data, tmp_path / "ema", Options(log_every=1))
    state = state_of(tmp_path / "ema")
    raw = train(vector(steps=4), data, tmp_path / "raw").model.state_dict()
    assert_same(state["model"], dict(raw), "averaging must not change the training")
    kept = load(tmp_path / "ema").state_dict()
    assert_same({k: kept[k] for k in state["average"]}, state["average"])
    assert_same(dict(result.model.state_dict()), dict(kept), "the returned model is the one in the file")
    moved = [k for k in state["average"] if not torch.equal(state["model"][k], state["average"][k])]
    assert len(moved) > len(state["average"]) / 2
    assert state["average_updates"] == 4
    assert not result.model.training


def test_without_an_average_the_model_file_holds_the_raw_weights(tmp_path):
    recipe = vector(steps=3)
    train(recipe, clips(recipe), tmp_path / "run")
    state = state_of(tmp_path / "run")
    assert state["average"] is None
    assert_same(dict(load(tmp_path / "run").state_dict()), state["model"])


def test_the_average_follows_the_run_step_by_step(tmp_path):
    recipe = vector(ema=0.5, steps=3)
    data = clips(recipe)
    start = train(recipe, data, tmp_path / "run", Options(until=1)).step
    assert start == 1
    average = state_of(tmp_path / "run")["average"]
    for n in (1, 2):
        train(recipe, data, tmp_path / "run", Options(until=n + 1, resume=True))
        state = state_of(tmp_path / "run")
        decay = min(0.5, (1 + n) / (10 + n))
        for name, value in state["average"].items():
            by_hand = decay * average[name].double() + (1 - decay) * state["model"][name].double()
            torch.testing.assert_close(value.double(), by_hand, rtol=1e-5, atol=1e-7)
        average = state["average"]
