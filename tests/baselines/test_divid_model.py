"""What makes DiViD what it is: the codes' sources, shared noise, its two terms, its ablations, what it lacks."""

import pytest
import torch
from divid_models import KINDS, VECTOR, VIDEO, built, clips

from diffsda.baselines.divid.diffusion import noised
from diffsda.baselines.divid.loss import absolute_error, orthogonality
from diffsda.baselines.divid.model import DiViD
from diffsda.baselines.divid.settings import ABLATIONS, NORM_GROUPS, DiViDSettings
from diffsda.errors import InputError
from diffsda.factors import Factors
from diffsda.nn.blocks import GROUPS

each = pytest.mark.parametrize("kind", list(KINDS))


@pytest.fixture(params=list(KINDS))
def model(request, randomise):
    return built(randomise, KINDS[request.param])


@torch.no_grad()
def test_the_static_code_is_the_first_frames(model):
    x = clips(torch.randn, model.settings)
    f = model.encode(x)
    later, first = x.clone(), x.clone()
    later[:, 1:] += 1
    first[:, 0] += 1
    assert torch.equal(model.encode(later).static, f.static)
    assert not torch.allclose(model.encode(later).dynamic, f.dynamic)
    assert not torch.allclose(model.encode(first).static, f.static)


@torch.no_grad()
@pytest.mark.parametrize("temporal", ["transformer", "lstm"])
def test_dynamics_do_not_see_what_all_frames_share(randomise, temporal):
    model = built(randomise, VECTOR.replace(temporal=temporal)).double()
    g = torch.randn(2, 4, 32, dtype=torch.float64)
    f, moved = model.encoder.read(g), model.encoder.read(g + torch.randn(2, 1, 32, dtype=torch.float64))
    assert torch.allclose(f.dynamic, moved.dynamic, atol=1e-12)
    assert not torch.allclose(f.static, moved.static)


@torch.no_grad()
def test_equal_frames_stay_equal(model):
    x = clips(torch.randn, model.settings)[:, :1].expand(-1, 3, *clips(torch.randn, model.settings).shape[2:])
    noise = torch.randn_like(x[:, :1])
    z = noised(x, torch.tensor([10, 60]), noise, model.level)
    assert torch.equal(z, z[:, :1].expand_as(z))
    assert not torch.allclose(z, x)
    code = model.encode(x)
    f = Factors(code.static, code.dynamic[:, :1].expand(-1, 3, -1))
    y = model.decode(f, seed=3)
    assert y.shape == x.shape
    assert torch.allclose(y, y[:, :1].expand_as(y), atol=1e-5)
    assert not torch.allclose(y[0], y[1])


@torch.no_grad()
def test_noise_is_shared_by_frames_only(model):
    f = model.encode(clips(torch.randn, model.settings))
    f = Factors(f.static[:1].expand(2, -1), f.dynamic[:1, :1].expand(2, 4, -1))
    shared = model.decode(f, seed=1)
    assert not torch.allclose(shared[0], shared[1])
    alone = model.decode(Factors(f.static[:1], f.dynamic[:1]), seed=2)
    assert torch.allclose(shared[1], alone[0], atol=1e-5)
    own = DiViD(model.settings.replace(shared_noise=False)).eval()
    own.load_state_dict(model.state_dict())
    y = own.decode(f, seed=1)
    assert not torch.allclose(y[:, 0], y[:, 1])


@torch.no_grad()
def test_swapping_a_clip_with_itself_reconstructs_it(model):
    a, b = (clips(torch.randn, model.settings) for _ in range(2))
    for how in ({"seed": 4}, {"noise": torch.randn_like(a)}, {"start": "inverted"}):
        assert torch.equal(model.swap(a, a, **how), model.reconstruct(a, **how)), how
        assert not torch.allclose(model.swap(a, b, **how), model.reconstruct(b, **how)), how
        assert not torch.allclose(model.swap(a, b, **how), model.reconstruct(a, **how)), how


@each
def test_every_term_trains_something(randomise, kind):
    settings = KINDS[kind]
    model = built(randomise, settings).train()
    terms = model.loss(clips(torch.randn, settings), generator=torch.Generator().manual_seed(0))
    assert list(terms.terms) == ["noise", "orthogonality"]
    for name, term in terms.terms.items():
        grads = torch.autograd.grad(term, list(model.parameters()), retain_graph=True, allow_unused=True)
        assert sum(float(g.abs().sum()) for g in grads if g is not None) > 0, name
    terms.total.backward()
    without = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    # A shift of all of one head's scores moves no softmax, nor a shift of all keys the self-attention.
    assert all("bias" in n for n in without), without


@each
def test_the_ablations_differ(randomise, kind):
    settings = KINDS[kind]
    x, t = clips(torch.randn, settings), torch.tensor([20, 70])
    noise = torch.randn_like(x[:, :1])
    found = {}
    for name, change in {"": {}, **ABLATIONS}.items():
        model = built(randomise, settings.replace(**change))
        terms = model.loss(x, t=t, noise=noise)
        found[name] = (round(float(terms.total.detach()), 6), sum(p.numel() for p in model.parameters()))
        assert model.reconstruct(x).shape == x.shape
    assert len({total for total, _ in found.values()}) == 5, found
    assert found["w/o Orth"][1] == found["w/ linear"][1] == found[""][1]
    assert len({found[n][1] for n in ("", "w/ LSTM", "w/ AdaGN")}) == 3


@torch.no_grad()
@each
@pytest.mark.parametrize("conditioning", ["cross_attention", "adagn"])
def test_the_network_reads_both_codes_and_the_step(randomise, kind, conditioning):
    model = built(randomise, KINDS[kind].replace(conditioning=conditioning))
    x, t = clips(torch.randn, model.settings), torch.tensor([20, 70])
    f = model.encode(x)
    y = model.predict(x, t, f)
    assert not torch.allclose(y, model.predict(x, t + 5, f), atol=1e-4)
    assert not torch.allclose(y, model.predict(x, t, Factors(f.static + 1, f.dynamic)), atol=1e-4)
    changed = f.dynamic.clone()
    changed[:, 2] += torch.randn_like(changed[:, 2])
    moved = (y - model.predict(x, t, Factors(f.static, changed))).abs().flatten(2).amax(2)
    assert (moved[:, 2] > 1e-4).all()
    assert (moved[:, [0, 1, 3]] < 1e-4).all(), "a dynamic code acts on its own frame only"


@torch.no_grad()
@pytest.mark.parametrize("temporal", ["transformer", "lstm"])
def test_padding_changes_nothing(randomise, temporal):
    model = built(randomise, VECTOR.replace(temporal=temporal))
    x, lengths = clips(torch.randn, VECTOR, 3), torch.tensor([4, 3, 2])
    changed = x.clone()
    changed[1, 3:], changed[2, 2:] = 9.0, -9.0
    t, noise = torch.tensor([1, 50, 90]), torch.randn(3, 1, 5)
    a, b = (model.encode(c, lengths) for c in (x, changed))
    assert torch.allclose(a.dynamic, b.dynamic, atol=1e-6)
    assert not a.dynamic[2, 2:].any()
    alone = model.encode(x[2:, :2])
    assert torch.allclose(a.dynamic[2:, :2], alone.dynamic, atol=1e-5)
    first, second = (model.loss(c, lengths, t=t, noise=noise).to_dict() for c in (x, changed))
    assert first == pytest.approx(second, rel=1e-5)


def test_the_loss_is_what_its_generator_says(randomise):
    model, x = built(randomise, VECTOR), clips(torch.randn, VECTOR)
    first, again, other = (
        float(model.loss(x, generator=torch.Generator().manual_seed(seed)).total.detach()) for seed in (3, 3, 4)
    )
    assert first == again != other


@pytest.mark.parametrize(("shared", "frames"), [(True, 1), (False, 4)])
def test_one_step_a_clip_and_one_noise_for_its_frames(randomise, shared, frames):
    model, x = built(randomise, VECTOR.replace(shared_noise=shared)), clips(torch.randn, VECTOR)
    draw = torch.Generator().manual_seed(3)
    t = torch.randint(100, (2,), generator=draw)
    noise = torch.randn(2, frames, 5, generator=draw)
    given = model.loss(x, generator=torch.Generator().manual_seed(3)).to_dict()
    assert given == model.loss(x, t=t, noise=noise).to_dict()


@torch.no_grad()
def test_clips_do_not_mix(model):
    x, t = clips(torch.randn, model.settings), torch.tensor([5, 95])
    f = model.encode(x)
    y = model.predict(x, t, f)
    for i in range(2):
        alone = Factors(f.static[i : i + 1], f.dynamic[i : i + 1])
        assert torch.allclose(y[i : i + 1], model.predict(x[i : i + 1], t[i : i + 1], alone), atol=1e-4)


def test_the_terms_by_hand():
    f = Factors(torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[[3.0, 1.0], [2.0, -1.0]], [[5.0, 2.0], [0, 0]]]))
    assert float(orthogonality(f)) == pytest.approx((25 + 0 + 4 + 0) / 2)
    assert float(orthogonality(f, cosine=True)) == pytest.approx((0.5 + 0 + 4 / 29) / 2)
    given, wanted = torch.tensor([[[1.0], [9.0]], [[2.0], [4.0]]]), torch.tensor([[[0.0]], [[1.0]]])
    assert float(absolute_error(given, wanted)) == pytest.approx((1 + 9 + 1 + 3) / 4)
    assert float(absolute_error(given, wanted, torch.tensor([[True, False], [True, True]]))) == pytest.approx(5 / 3)


@torch.no_grad()
def test_codes_cannot_shrink(randomise):
    f = built(randomise, VECTOR).encode(clips(torch.randn, VECTOR))
    for code in (f.static, f.dynamic):
        assert torch.allclose(code.square().mean(-1), torch.ones(code.shape[:-1]), atol=1e-3)
    free = built(randomise, VECTOR.replace(normalise=False)).encode(clips(torch.randn, VECTOR))
    assert not torch.allclose(free.static.square().mean(-1), torch.ones(2), atol=1e-3)


def test_it_has_no_prior():
    model = DiViD(VECTOR)
    with pytest.raises(InputError, match=r"divid: cannot sample static: its paper gives it no prior"):
        model.sample_static(2)
    with pytest.raises(InputError, match=r"divid: cannot sample dynamic: its paper gives it no prior"):
        model.sample_dynamic(2, 3)


def test_what_bounds_clean_frames():
    free = VECTOR.replace(bound=None)
    assert [s.clean_bound for s in (free, free.replace(kind="video"), free.replace(kind="video", bound=0))] == [
        None,
        1.0,
        None,
    ]
    f = Factors(torch.zeros(1, 16), torch.zeros(1, 2, 16))
    assert float(DiViD(VECTOR).decode(f).abs().max()) <= 3.0 < float(DiViD(free).decode(f).abs().max())


def test_the_papers_size():
    assert NORM_GROUPS == GROUPS
    with torch.device("meta"):
        model = DiViD(DiViDSettings(size=128))
    assert (model.settings.static, model.settings.dynamic) == (256, 256)
    assert model.encoder.to_static[0].in_features == 3 * 32 * 32
    heights = [stage.transformer is not None for stage in model.network.down if hasattr(stage, "block")]
    assert heights == [False, False, False, False, True, True, True, True]


@pytest.mark.parametrize(
    ("why", "act"),
    [
        ("as_published", lambda: DiViDSettings(as_published=True)),
        ("heads: got 3", lambda: DiViDSettings(heads=3)),
        ("dynamic: got 5", lambda: DiViDSettings(temporal="lstm", static=5, dynamic=5)),
        ("static: got 8", lambda: VECTOR.replace(static=8)),
        ("multipliers: got", lambda: VIDEO.replace(multipliers=())),
        ("multipliers: got", lambda: VIDEO.replace(width=16)),
        ("multipliers: got", lambda: VIDEO.replace(multipliers=[1, 2])),
        ("encoder_multipliers: got", lambda: VIDEO.replace(encoder_multipliers=(1, 200))),
        ("size: got 10", lambda: VIDEO.replace(size=10, multipliers=(1, 2, 2))),
        ("context_heads", lambda: VIDEO.replace(context_heads=3)),
        ("sampling_steps: got 101", lambda: VIDEO.replace(sampling_steps=101)),
        ("first_beta", lambda: VIDEO.replace(first_beta=0.1)),
        ("x: got", lambda: DiViD(VECTOR).encode(torch.zeros(2, 3, 6))),
        ("lengths", lambda: DiViD(VECTOR).encode(torch.zeros(2, 3, 5), torch.tensor([4, 2]))),
        ("factors: got", lambda: DiViD(VECTOR).decode(Factors(torch.zeros(1, 9), torch.zeros(1, 2, 16)))),
        ("noise: got", lambda: DiViD(VECTOR).reconstruct(torch.zeros(1, 2, 5), noise=torch.zeros(1, 3, 5))),
        ("steps: got 0", lambda: DiViD(VECTOR).reconstruct(torch.zeros(1, 2, 5), steps=0)),
        ("start: got 'own'", lambda: DiViD(VECTOR).reconstruct(torch.zeros(1, 2, 5), start="own")),
        ("start: got 'own'", lambda: DiViD(VECTOR).swap(*torch.zeros(2, 1, 2, 5), start="own")),
        (
            "start: got 'inverted' and noise",
            lambda: DiViD(VECTOR).reconstruct(torch.zeros(1, 2, 5), start="inverted", noise=torch.zeros(1, 2, 5)),
        ),
    ],
)
def test_refusals(why, act):
    with pytest.raises(InputError, match=why):
        act()


def test_settings_travel_as_plain_data():
    import json

    plain = json.loads(json.dumps(VIDEO.to_dict()))
    assert DiViDSettings.from_dict(plain) == VIDEO
