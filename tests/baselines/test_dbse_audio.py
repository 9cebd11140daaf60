"""DBSE for audio as the specification has it, spelled out layer by layer under the authors' names."""

import pytest
import torch
from recordings import assert_close, assert_terms
from small_dbse import clips, made
from torch import nn
from torch.nn.functional import leaky_relu

from diffsda.baselines.dbse.authors import to_theirs
from diffsda.baselines.draws import recorded
from diffsda.baselines.gaussian import Gaussian

S, D, H, F, V, B = 5, 4, 6, 9, 7, 3


class Spelled:
    """The published network, one step after the other."""

    def __init__(self, model):
        self.held = to_theirs(model.state_dict(), model)

    def linear(self, name, x):
        return nn.functional.linear(x, self.held[f"{name}.weight"], self.held[f"{name}.bias"])

    def lstm(self, name, x, suffix="_l0"):
        """Run one direction of a layer by hand."""
        parts = [self.held[f"{name}.{k}{suffix}"] for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        ordered = x.flip(1) if suffix.endswith("_reverse") else x
        h = c = torch.zeros(len(x), parts[1].shape[1])
        out = []
        for step in ordered.unbind(1):
            gates = nn.functional.linear(step, parts[0], parts[2]) + nn.functional.linear(h, parts[1], parts[3])
            i, f, g, o = gates.chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            out.append(h)
        found = torch.stack(out, 1)
        return found.flip(1) if suffix.endswith("_reverse") else found

    def both(self, name, x, layer=0):
        return torch.cat([self.lstm(name, x, f"_l{layer}{way}") for way in ("", "_reverse")], 2)

    def encode(self, x, slot):
        e = self.linear("fc", self.both("z_lstm_encoder", x))
        h = self.linear("static_linear_proj", e[:, 0]).tanh()
        static = [leaky_relu(self.linear(f"f_{part}.model.0", h), 0.2) for part in ("mean", "logvar")]
        changes = torch.cat([slot[:, None], (e - e[:, :1])[:, 1:]], 1)
        h = self.both("z_lstm", self.both("z_lstm", changes), 1)
        return Gaussian(*static), Gaussian(*(self.linear(f"z_{part}", h) for part in ("mean", "logvar")))

    def decode(self, static, dynamic):
        codes = torch.cat([dynamic, static[:, None].expand(-1, dynamic.shape[1], -1)], 2)
        return self.linear("decoder.dec_net.0", self.lstm("decoder.lstm", codes))

    def prior(self, codes):
        before = torch.cat([torch.zeros(len(codes), 1, D), codes[:, :-1]], 1)
        h = self.lstm("z_prior_lstm_ly2", self.lstm("z_prior_lstm_ly1", before, ""), "")
        return Gaussian(*(self.linear(f"z_prior_{part}", h) for part in ("mean", "logvar")))


@pytest.fixture(scope="module")
def model():
    return made("audio", as_published=True)


@pytest.fixture(scope="module")
def eps():
    draw = torch.Generator().manual_seed(6)
    shapes = {"slot": (B, F), "s": (B, S), "d": (B, V, D)}
    return {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}


@torch.no_grad()
def test_codes(model, eps):
    static, dynamic = Spelled(model).encode(clips("audio"), eps["slot"])
    q = model.posterior(clips("audio"), draws=recorded(eps))
    for given, wanted in ((q.static, static), (q.dynamic, dynamic)):
        assert_close(given.mean, wanted.mean)
        assert_close(given.logvar, wanted.logvar)


@torch.no_grad()
def test_loss(model, eps):
    spelled, x = Spelled(model), clips("audio")
    static, dynamic = spelled.encode(x, eps["slot"])
    s, d = static.sample(eps["s"]), dynamic.sample(eps["d"])
    terms = torch.stack(
        [
            (spelled.decode(s, d) - x).square().sum() / B,
            (spelled.decode(s, torch.zeros_like(d)) - x).square().sum() / B,
            static.kl().sum() / B,
            dynamic.kl_to(spelled.prior(d)).sum() / B,
        ]
    )
    given = model.loss(x, draws=recorded(eps))
    assert given.weights == {"sequence": 1.0, "single": 1.0, "static_divergence": 1.0, "dynamic_divergence": 1.0}
    assert_terms(given, torch.cat([terms, terms.sum()[None]]))


@torch.no_grad()
def test_mended_codes_read_the_first_frame_alone(eps):
    model, x = made("audio"), clips("audio")
    spelled = Spelled(model)
    alone = spelled.encode(x[:, :1], eps["slot"])[0]
    assert_close(model.encode(x).static, alone.mean)


@torch.no_grad()
def test_chunks_of_any_length_are_drawn(model):
    assert model.decode(model.encode(clips("audio"))).shape == (B, V, F)
    f = model.encode(torch.rand(2, 40, F))
    assert_close(model.decode(f), Spelled(model).decode(f.static, f.dynamic))
