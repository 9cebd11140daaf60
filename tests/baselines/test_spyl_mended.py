"""What SPYL does where the released code slips, with lengths, and for vectors."""

import math

import pytest
import torch

from diffsda.baselines.draws import fresh
from diffsda.baselines.gaussian import Gaussian
from diffsda.baselines.spyl import loss as parts
from diffsda.baselines.spyl.authors import load_authors, to_theirs
from diffsda.baselines.spyl.contrast import farthest_first, info_nce, pick_negatives
from diffsda.baselines.spyl.model import SPYL
from diffsda.baselines.spyl.mutual_information import mutual_information
from diffsda.baselines.spyl.settings import SPRITES, SPYLSettings
from diffsda.errors import CheckpointError, InputError
from diffsda.factors import Factors

VECTOR = SPYLSettings(kind="vector", channels=5, width=4, features=8, hidden=6, static=4, dynamic=3, warm_up=2)
VIDEO = SPYLSettings(width=4, features=8, hidden=6, static=4, dynamic=3, bank=6)


def clips(batch=6, frames=4, seed=0):
    return torch.randn(batch, frames, 5, generator=torch.Generator().manual_seed(seed))


def noting(names):
    """Draw as usual and note what was asked for."""
    draw = fresh(torch.Generator().manual_seed(0))

    def noted(what, shape, like):
        names.append(what)
        return draw(what, shape, like)

    return noted


def zeros(what, shape, like):
    return like.new_zeros(shape)


def rows(batch, width, seed):
    draw = torch.Generator().manual_seed(seed)
    return Gaussian(torch.randn(batch, width, generator=draw), torch.randn(batch, width, generator=draw))


def test_mutual_information_is_that_of_the_mixtures():
    static, d = rows(3, 2, 0), rows(6, 2, 1)
    dynamic = Gaussian(d.mean.reshape(3, 2, 2), d.logvar.reshape(3, 2, 2))
    s, d = static.mean + 0.1, dynamic.mean - 0.2

    def density(x, q):
        return torch.distributions.Normal(q.mean, (q.logvar / 2).exp()).log_prob(x).sum(-1).exp()

    total = 0.0
    for i in range(3):
        for v in range(2):
            of_s, of_d = density(s[i], static), density(d[i, v], dynamic[:, v])
            total += ((of_s * of_d).mean() / (of_s.mean() * of_d.mean())).log()
    value = mutual_information(s, d, static, dynamic)
    assert float(value) == pytest.approx(float(total) / 6, rel=1e-5)
    more = mutual_information(s, d, static, dynamic, items=7)
    assert float(more) == pytest.approx(float(value) + math.log(7), rel=1e-5)
    assert float(mutual_information(s, d, static, dynamic, as_published=True)) != pytest.approx(float(value), rel=1e-2)


def test_mutual_information_has_its_bounds():
    same = Gaussian(torch.zeros(4, 2), torch.zeros(4, 2))
    one = Gaussian(torch.zeros(4, 3, 2), torch.zeros(4, 3, 2))
    s, d = torch.randn(4, 2), torch.randn(4, 3, 2)
    assert float(mutual_information(s, d, same, one)) == pytest.approx(0, abs=1e-6)
    # Each clip has codes of its own: knowing one tells which clip it is, log 4 nats.
    apart = 100 * torch.arange(4.0)[:, None].expand(4, 2)
    far = Gaussian(apart, torch.zeros(4, 2))
    moving = Gaussian(apart[:, None].expand(4, 3, 2), torch.zeros(4, 3, 2))
    assert float(mutual_information(far.mean, moving.mean, far, moving)) == pytest.approx(math.log(4), rel=1e-5)


def test_mutual_information_leaves_padding_out():
    static, whole = rows(3, 2, 0), rows(12, 2, 1)
    dynamic = Gaussian(whole.mean.reshape(3, 4, 2), whole.logvar.reshape(3, 4, 2))
    real = torch.tensor([[True, True, True, False]]).expand(3, 4)
    short = mutual_information(static.mean, dynamic.mean[:, :3], static, dynamic[:, :3])
    padded = mutual_information(static.mean, dynamic.mean, static, dynamic, real=real)
    assert float(padded) == pytest.approx(float(short), rel=1e-6)


def test_semi_hard_negatives_are_of_the_middle_third():
    ranking = torch.arange(12)[None].expand(2, 12)
    assert pick_negatives(ranking, 6, "semi").tolist() == [[4, 5, 6, 7]] * 2
    assert pick_negatives(ranking, 3, "semi").tolist() == [[4, 5, 6]] * 2
    assert pick_negatives(ranking, 6, "semi", as_published=True).tolist() == [[4, 5, 6, 7, 8, 9]] * 2
    assert pick_negatives(ranking, 6, "soft").tolist() == [[0, 1, 2, 3, 4, 5]] * 2


def test_hard_negatives_are_drawn_for_every_clip():
    settings = VECTOR.replace(hardness="hard", negatives=8)
    anchors, bank, draw = rows(4, 3, 0), rows(24, 3, 1), fresh(torch.Generator().manual_seed(0))
    own = parts.choose_negatives(settings, rows(1, 3, 0)[[0, 0, 0, 0]], bank, "static", draw)
    assert not torch.equal(own[0], own[1])
    one = parts.choose_negatives(settings.replace(as_published=True), rows(1, 3, 0)[[0, 0]], bank, "static", draw)
    assert torch.equal(one[0], one[1])
    ranking = farthest_first(parts.divergences(anchors, bank))
    order = torch.randn(4, 16).argsort(1)
    nearest = ranking[:, 16:]
    chosen = pick_negatives(ranking, 16, "hard", order=order)
    assert not (chosen[:, :, None] == nearest[:, None]).any()


def test_contrast_of_large_similarities():
    a, far = torch.full((2, 3), 40.0), torch.full((2, 4, 3), -40.0)
    assert float(info_nce(a, a, far, temperature=0.01, cosine=False)) == 0
    assert float(info_nce(a, -a, -far, temperature=1.0, cosine=False)) == pytest.approx(9600 + math.log(4))


def test_the_mean_over_frames_has_its_own_variance():
    codes = Gaussian(torch.zeros(1, 4, 1), torch.tensor([1.0, 4.0, 9.0, 2.0]).log().reshape(1, 4, 1))
    assert float(parts.over_time(codes, None).logvar.exp()) == pytest.approx(16 / 16)
    real = torch.tensor([[True, True, True, False]])
    assert float(parts.over_time(codes, real).logvar.exp()) == pytest.approx(14 / 9)
    assert float(parts.over_time(codes, None, as_published=True).logvar) == pytest.approx(math.log(72) / 4)


def test_predicted_dynamics_are_samples():
    eps = torch.randn(2, 4, 3)
    model = SPYL(VECTOR)
    assert torch.equal(parts.roll_out(model, eps), model.prior.roll_out(2, 4, eps).codes)
    model = SPYL(VECTOR.replace(as_published=True))
    assert torch.equal(parts.roll_out(model, eps), model.prior.roll_out(2, 4, eps).steps.mean)


def test_the_warm_up_costs_nothing():
    model, asked = SPYL(VECTOR), []
    for epoch, names in ((1, 2), (2, 6), (None, 6)):
        asked.clear()
        model.epoch = epoch
        terms = model.loss(clips(), draws=noting(asked))
        assert len(asked) == names, asked
        assert (float(terms.terms["contrast_static"].detach()) == 0) == (names == 2)
    model = SPYL(VECTOR.replace(weight_contrast_static=0, weight_contrast_dynamic=0))
    asked.clear()
    model.loss(clips(), draws=noting(asked))
    assert asked == ["main_s", "main_d"]


@pytest.mark.parametrize("as_published", [False, True])
def test_norms_follow_the_data_alone(as_published):
    x = torch.rand(2, 2, 3, 64, 64)
    model = SPYL(VIDEO.replace(as_published=as_published)).train()
    with torch.no_grad():
        model.loss(x, generator=torch.Generator().manual_seed(0))
    counts = {int(v) for k, v in model.named_buffers() if k.endswith("num_batches_tracked")}
    assert counts == ({6} if as_published else {1})
    assert all(m.track_running_stats for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_every_term_trains_something():
    model = SPYL(VECTOR)
    terms = model.loss(clips(), generator=torch.Generator().manual_seed(1))
    for name, term in terms.terms.items():
        grads = torch.autograd.grad(term, list(model.parameters()), retain_graph=True, allow_unused=True)
        assert sum(float(g.abs().sum()) for g in grads if g is not None) > 0, name
    terms.total.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_the_loss_is_what_its_generator_says():
    settings = VECTOR.replace(hardness="hard")
    model = SPYL(settings)
    first, again, other = (
        float(model.loss(clips(), generator=torch.Generator().manual_seed(seed)).total.detach()) for seed in (3, 3, 4)
    )
    assert first == again != other


@torch.no_grad()
def test_padding_changes_nothing():
    model, x = SPYL(VECTOR), clips(3, 4)
    model.epoch = 0
    lengths = torch.tensor([4, 3, 2])
    changed = x.clone()
    changed[1, 3:], changed[2, 2:] = 9.0, -9.0
    a, b = model.encode(x, lengths), model.encode(changed, lengths)
    assert torch.equal(a.static, b.static)
    assert torch.equal(a.dynamic, b.dynamic)
    assert not a.dynamic[2, 2:].any()
    alone = model.encode(x[2:, :2])
    assert torch.allclose(a.static[2:], alone.static, atol=1e-6)
    assert torch.allclose(a.dynamic[2:, :2], alone.dynamic, atol=1e-6)
    given = [model.loss(c, lengths, draws=zeros).to_dict() for c in (x, changed)]
    assert given[0] == pytest.approx(given[1], rel=1e-6)
    model.epoch = None
    given = [model.loss(c, lengths, draws=zeros).to_dict() for c in (x, changed)]
    assert given[0] == pytest.approx(given[1], rel=1e-6)


@torch.no_grad()
def test_padded_clips_have_the_loss_of_short_ones(randomise):
    model, x = randomise(SPYL(VECTOR)), clips(3, 4)
    model.epoch = 0
    padded = model.loss(x, torch.tensor([3, 3, 3]), draws=zeros).to_dict()
    assert padded["information"] > 1e-4
    assert padded == pytest.approx(model.loss(x[:, :3], draws=zeros).to_dict(), rel=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("predict", [parts.predict_static, parts.predict_dynamic])
def test_norms_see_no_padding(predict):
    model, x, lengths = SPYL(VIDEO).train(), torch.rand(2, 3, 3, 64, 64), torch.tensor([2, 2])
    padded = predict(model, x, lengths, model.posterior(x, lengths), zeros)
    short = predict(model, x[:, :2], None, model.posterior(x[:, :2]), zeros)
    assert torch.allclose(padded.code, short.code, rtol=1e-4, atol=1e-7)
    assert torch.allclose(padded.clips[:, :2], short.clips, atol=1e-5)


@torch.no_grad()
def test_the_static_code_sees_the_whole_clip():
    model, x = SPYL(VECTOR), clips(2)
    changed = x.clone()
    changed[:, -1] += 1
    assert not torch.allclose(model.encode(x).static, model.encode(changed).static)


@torch.no_grad()
@pytest.mark.parametrize("settings", [VECTOR, VIDEO], ids=["vector", "video"])
def test_a_whole_system(settings):
    model = SPYL(settings).eval()
    a, b = (clips(2), clips(2, seed=1)) if settings.kind == "vector" else torch.rand(2, 2, 3, 3, 64, 64)
    assert model.reconstruct(a).shape == a.shape
    assert torch.equal(model.swap(a, a), model.reconstruct(a))
    assert not torch.equal(model.swap(a, b), model.reconstruct(b))
    draw = torch.Generator().manual_seed(0)
    f = Factors(model.sample_static(5, draw), model.sample_dynamic(5, 7, draw))
    assert (f.static.shape, f.dynamic.shape) == ((5, 4), (5, 7, 3))
    assert model.decode(f).shape[:2] == (5, 7)
    assert SPYLSettings.from_dict(model.settings.to_dict()) == settings


@pytest.mark.parametrize(
    ("why", "act"),
    [
        ("negatives: got 9", lambda: SPRITES.replace(bank=8, negatives=9)),
        ("negatives: got 99", lambda: SPYL(VECTOR.replace(negatives=99)).loss(clips())),
        ("hardness", lambda: SPYLSettings(hardness="harder")),
        ("hardness", lambda: pick_negatives(torch.zeros(1, 9), 2, "harder")),
        ("order: got None", lambda: pick_negatives(torch.zeros(1, 9), 2, "hard")),
        ("x: got", lambda: SPYL(VECTOR).encode(torch.zeros(2, 3, 6))),
        ("x: got", lambda: SPYL(VIDEO).encode(torch.zeros(2, 3, 3, 32, 32))),
        ("factors: got widths", lambda: SPYL(VECTOR).decode(Factors(torch.zeros(1, 9), torch.zeros(1, 2, 3)))),
        ("lengths", lambda: SPYL(VECTOR).encode(clips(2), torch.tensor([1, 2]))),
    ],
)
def test_refusals(why, act):
    with pytest.raises(InputError, match=why):
        act()


def saved(folder, change):
    theirs = to_theirs(SPYL(VIDEO).state_dict())
    torch.save(change(theirs), folder / "theirs.pth")
    return folder / "theirs.pth"


def test_a_released_file(tmp_path):
    path = saved(tmp_path, lambda held: {f"module.{k}": v for k, v in held.items()} | {"more": torch.zeros(1)})
    model = load_authors(path)
    assert model.settings == VIDEO.replace(bank=None)
    assert not model.training
    assert model.provenance["ignored"] == ["more"]
    assert "weight_reconstruction 10" in model.provenance["assumed"]
    assert load_authors(path, "sprites").provenance["assumed"] == []
    assert load_authors(path, VIDEO.replace(hardness="hard"), as_published=True).settings == VIDEO.replace(
        hardness="hard", as_published=True
    )


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("not a SPYL model", lambda held: {"encoder.weight": torch.zeros(2)}),
        ("lacks", lambda held: {k: v for k, v in held.items() if k != "s_mean.weight"}),
        ("decoder.upc5.0.bias", lambda held: {k: v for k, v in held.items() if k != "decoder.upc5.0.bias"}),
        ("d_logvar.bias", lambda held: held | {"d_logvar.bias": torch.zeros(9)}),
        ("another kind of number", lambda held: held | {"d_logvar.bias": torch.zeros(3).long()}),
    ],
)
def test_foreign_files_are_refused(tmp_path, why, change):
    with pytest.raises(CheckpointError, match=why):
        load_authors(saved(tmp_path, change))


def test_unknown_settings_are_refused():
    with pytest.raises(InputError, match="settings: got 'mug'"):
        load_authors("nowhere", "mug")
