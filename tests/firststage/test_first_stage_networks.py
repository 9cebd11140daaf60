"""What first stages refuse, how they draw, where gradients go, and the codebook's book-keeping."""

import pytest
import torch

from diffsda.errors import InputError, MissingPackage
from diffsda.firststage.build import build
from diffsda.firststage.codebook import Codebook
from diffsda.firststage.recipe import FirstStage, configuration
from diffsda.kernels import backend
from diffsda.kernels.launch import BackendError

KL = FirstStage(kind="kl", size=16, width=32, multipliers=(1, 1), blocks=1, attention=(), latent=2, codes=0)
VQ = FirstStage(size=16, width=32, multipliers=(1, 1), blocks=1, attention=(1,), latent=3, codes=5)


def test_frames_and_latents_that_do_not_fit_are_refused():
    model = build(VQ)
    for shape in ((2, 1, 16, 16), (2, 3, 15, 16), (3, 16, 16), (1, 2, 3, 16, 16)):
        with pytest.raises(InputError, match=r"got frames .* multiples of 2"):
            model.encode(torch.zeros(shape))
    for call in (model.decode, model.quantise, model.decode_codes, build(KL).decode):
        with pytest.raises(InputError, match="got latents"):
            call(torch.zeros(2, 7, 8, 8))


def test_frames_need_not_be_square_nor_of_the_trained_size():
    model = build(VQ)
    z = model.encode(torch.zeros(1, 3, 8, 20))
    assert z.shape == (1, 3, 4, 10)
    assert model.decode(z).shape == (1, 3, 8, 20)


def test_a_posterior_is_its_mean_or_a_draw_by_seed():
    model, x = build(KL), torch.randn(2, 3, 16, 16)
    posterior = model.posterior(x)
    assert torch.equal(model.encode(x), posterior.mean)
    draws = [model.encode(x, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    unit = torch.distributions.Normal(0, 1)
    wanted = torch.distributions.kl_divergence(
        torch.distributions.Normal(posterior.mean, (0.5 * posterior.logvar).exp()), unit
    )
    torch.testing.assert_close(posterior.kl(), wanted.sum((1, 2, 3)), rtol=1e-4, atol=1e-3)


def test_draws_have_the_posteriors_deviation():
    model = build(KL)
    with torch.no_grad():
        posterior = model.posterior(torch.randn(1, 3, 16, 16))
    draws = torch.stack([posterior.sample(torch.Generator().manual_seed(i)) for i in range(400)])
    ratio = draws.std(0) / (0.5 * posterior.logvar).exp()
    assert 0.9 < float(ratio.mean()) < 1.1


def test_codes_are_the_nearest_ones_and_get_the_gradient():
    book, z = Codebook(7, 3), torch.randn(2, 3, 4, 5, requires_grad=True)
    codes, indices = book(z)
    distances = (z.permute(0, 2, 3, 1)[..., None, :] - book.embedding.weight).square().sum(-1)
    assert torch.equal(indices, distances.argmin(-1))
    assert torch.equal(codes, book.embedding.weight[indices].permute(0, 3, 1, 2))
    codes.sum().backward()
    assert z.grad is None
    assert bool((book.embedding.weight.grad.abs().sum(1) > 0).eq(book.used(indices)).all())


def test_used_codes():
    assert Codebook(5, 2).used(torch.tensor([[3, 3], [0, 3]])).tolist() == [True, False, False, True, False]


def test_unused_codes_move_onto_latents_and_the_others_stay():
    book, z = Codebook(6, 2), torch.randn(2, 2, 3, 3)
    before, used = book.embedding.weight.detach().clone(), torch.tensor([1, 0, 1, 1, 0, 1], dtype=torch.bool)
    assert book.revive(used, z, torch.Generator().manual_seed(0)) == 2
    after, rows = book.embedding.weight.detach(), z.permute(0, 2, 3, 1).reshape(-1, 2)
    assert torch.equal(after[used], before[used])
    assert all(bool((rows == code).all(1).any()) for code in after[~used])
    assert book.revive(torch.ones(6, dtype=torch.bool), z, torch.Generator()) == 0


@pytest.mark.parametrize("kind", [VQ, KL], ids=["vq", "kl"])
def test_every_parameter_gets_a_gradient(kind):
    model, x = build(kind), torch.randn(2, 3, 16, 16)
    z = model.encode(x) if kind is VQ else model.encode(x, torch.Generator().manual_seed(0))
    out = model.decode_codes(z) + model.decode(z.detach()).mean() if kind is VQ else model.decode(z)
    out.square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # The key's bias shifts all of a row's logits alike.
    assert [name for name in without if not name.endswith("k.bias")] == []


def test_the_switch_of_kernels_reaches_the_first_stage():
    model, x = build(VQ), torch.randn(1, 3, 16, 16)
    z = model.encode(x)
    for operation, call, given in (
        ("group_norm", model.encode, x),
        ("attention", model.encode, x),
        ("nearest_code", model.decode, z),
    ):
        with backend("torch", **{operation: "triton"}), pytest.raises((BackendError, MissingPackage)):
            call(given)


def test_double_precision_and_channels_last_give_the_same():
    model, x = build(configuration("tiny")).eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        z, back = model.encode(x), model.decode(model.encode(x))
        last = model.to(memory_format=torch.channels_last)
        near = {"rtol": 1e-4, "atol": 1e-5}
        torch.testing.assert_close(last.encode(x.to(memory_format=torch.channels_last)), z, **near)
        wide = last.double()
        torch.testing.assert_close(wide.encode(x.double()).float(), z, **near)
        torch.testing.assert_close(wide.decode(z.double()).float(), back, **near)
