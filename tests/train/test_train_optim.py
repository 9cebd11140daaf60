"""FusedAdamW against the sequence a training step is made of today, and its state against torch.optim.AdamW's."""

import copy
import os

import pytest
import torch
from torch import nn

from diffsda import kernels
from diffsda.errors import DiffSDAError, InputError
from diffsda.train.ema import Average
from diffsda.train.optim import FusedAdamW

SETTINGS = {"lr": 1e-2, "betas": (0.9, 0.99), "weight_decay": 0.1}


def network(last=False):
    """Return a small network, the same every time."""
    torch.manual_seed(5)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 3, 3, padding=1))
    return net.to(memory_format=torch.channels_last) if last else net


def backward(net, step):
    draw = torch.Generator().manual_seed(step)
    x = torch.randn(2, 3, 6, 6, generator=draw)
    net.zero_grad(set_to_none=True)
    ((net(x) - x.roll(1, 3)) ** 2).mean().mul(1.0 if step % 3 else 0.01).backward()


def rate(step):
    return 1e-2 / (1 + step)


class Today:
    """What TrainStep and the loop do: clip, update, average."""

    def __init__(self, net, decay=0.9):
        self.net = net
        self.optimizer = torch.optim.AdamW(net.parameters(), **SETTINGS, fused=True)
        self.average = Average(net, decay)

    def __call__(self, step):
        for group in self.optimizer.param_groups:
            group["lr"] = rate(step)
        backward(self.net, step)
        norm = nn.utils.clip_grad_norm_(list(self.net.parameters()), 0.5)
        self.optimizer.step()
        self.average.update(self.net)
        return norm


class Ours:
    """The same in one call."""

    def __init__(self, net, decay=0.9):
        self.net = net
        self.average = Average(net, decay)
        self.optimizer = FusedAdamW(net.parameters(), **SETTINGS, average=self.average)

    def __call__(self, step):
        self.optimizer.param_groups[0]["lr"] = rate(step)
        backward(self.net, step)
        return self.optimizer.update(0.5)


def assert_same(ours, today):
    for a, b in zip(ours.net.parameters(), today.net.parameters(), strict=True):
        assert torch.equal(a, b)
    assert list(ours.average.weights) == list(today.average.weights)
    for name, value in today.average.weights.items():
        assert torch.equal(ours.average.weights[name], value), name
    assert ours.average.updates == today.average.updates


@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels last"])
def test_twenty_steps_are_todays_to_the_bit(last):
    ours, today = Ours(network(last)), Today(network(last))
    norms = [(ours(step), today(step)) for step in range(20)]
    assert all(torch.equal(a, b) for a, b in norms)
    assert min(a for a, _ in norms) < 0.5 < max(a for a, _ in norms)
    assert_same(ours, today)


@pytest.mark.parametrize("first", [Today, Ours])
def test_a_run_goes_on_with_the_other_kind(first, tmp_path):
    begun, wanted = first(network()), Today(network())
    for step in range(5):
        begun(step)
        wanted(step)
    torch.save({"optimizer": begun.optimizer.state_dict(), "net": begun.net.state_dict()}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = (Ours if first is Today else Today)(network())
    resumed.net.load_state_dict(state["net"])
    resumed.optimizer.load_state_dict(state["optimizer"])
    resumed.average.weights, resumed.average.updates = copy.deepcopy(begun.average.weights), begun.average.updates
    for step in range(5, 10):
        resumed(step)
        wanted(step)
    assert_same(resumed, wanted)


def test_state_dicts_are_alike():
    ours, today = Ours(network()), Today(network())
    for step in range(3):
        ours(step)
        today(step)
    a, b = ours.optimizer.state_dict(), today.optimizer.state_dict()
    assert a["param_groups"] == b["param_groups"]
    assert list(a["state"]) == list(b["state"])
    for number, held in b["state"].items():
        assert list(a["state"][number]) == list(held) == ["step", "exp_avg", "exp_avg_sq"]
        for name, value in held.items():
            assert torch.equal(a["state"][number][name], value)
            assert a["state"][number][name].dtype == value.dtype
    steps = [held["step"].data_ptr() for held in a["state"].values()]
    assert len(set(steps)) == len(steps), "torch adds one to each"


def test_moments_of_another_memory_format_are_laid_out_anew():
    today = Today(network())
    for step in range(3):
        today(step)
    ours = Ours(network(last=True))
    ours.net.load_state_dict(today.net.state_dict())
    ours.optimizer.load_state_dict(today.optimizer.state_dict())
    weight = ours.net[0].weight
    held = ours.optimizer.state[weight]["exp_avg"]
    assert held.stride() == weight.stride()
    assert torch.equal(held, today.optimizer.state[today.net[0].weight]["exp_avg"])
    ours(3)


def test_step_updates_without_clipping_and_takes_a_closure():
    ours, net = FusedAdamW(network().parameters(), **SETTINGS), network()
    today = torch.optim.AdamW(net.parameters(), **SETTINGS, fused=True)
    params = ours.param_groups[0]["params"]

    def closure():
        for p in params:
            p.grad = torch.ones_like(p)
        return 3.0

    assert ours.step(closure) == 3.0
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    today.step()
    for a, b in zip(params, net.parameters()):
        assert torch.equal(a, b)


def test_copies_hold_the_weights_in_their_own_dtype():
    net = network()
    copies = [torch.zeros_like(p, dtype=torch.bfloat16) for p in net.parameters()]
    optimizer = FusedAdamW(net.parameters(), **SETTINGS, copies=copies)
    backward(net, 1)
    optimizer.update(1.0)
    for copied, p in zip(copies, net.parameters()):
        assert torch.equal(copied, p.detach().bfloat16())


def test_parameters_that_never_get_a_gradient_are_averaged_and_have_no_state():
    ours, today = Ours(network()), Today(network())
    for run in (ours, today):
        run.net[1].weight.requires_grad_(False)
    for step in range(3):
        ours(step)
        today(step)
    assert_same(ours, today)
    assert len(ours.optimizer.state_dict()["state"]) == len(today.optimizer.state_dict()["state"]) == 5


def test_a_decay_on_the_device_is_read_instead():
    ours = Ours(network())
    ours.optimizer.decay = torch.tensor(0.0)
    ours(1)
    for held, p in zip(ours.average.weights.values(), ours.net.parameters()):
        torch.testing.assert_close(held, p.detach())


def test_what_it_does_not_do_is_refused():
    ours = Ours(network())
    ours(1)
    backward(ours.net, 2)
    ours.net[1].weight.grad = None
    with pytest.raises(InputError, match="got a gradient for parameter 2 at some updates only"):
        ours.optimizer.update()
    state = copy.deepcopy(ours.optimizer.state_dict())
    state["state"][3]["step"] += 2
    with pytest.raises(InputError, match="updated 1 to 3 times, expected all equally often"):
        Ours(network()).optimizer.load_state_dict(state)
    odd = Ours(network())
    odd.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))]})
    with pytest.raises(InputError, match="got 2 parameter groups, expected one group"):
        odd.optimizer.update()
    odd = Ours(network())
    odd.optimizer.param_groups[0]["amsgrad"] = True
    with pytest.raises(InputError, match="got amsgrad, expected one group and plain AdamW"):
        odd.optimizer.update()


def test_a_refused_update_leaves_the_step_number_alone():
    ours = Ours(network())
    ours(1)
    ours.average.weights.pop("0.bias")
    backward(ours.net, 2)
    with pytest.raises(InputError, match="got 5 averages, expected 6"):
        ours.optimizer.update()
    assert {float(held["step"]) for held in ours.optimizer.state.values()} == {1.0}
    assert ours.average.updates == 1


def test_it_asks_the_switch():
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("the interpreter runs it")
    ours = Ours(network())
    backward(ours.net, 1)
    with kernels.backend(adamw="triton"), pytest.raises(DiffSDAError, match="backend 'triton' was asked for"):
        ours.optimizer.update()
