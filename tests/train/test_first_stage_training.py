"""Fitting a first stage: it learns, it resumes bit for bit, it stops in good order, and it refuses what cannot be."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import torch
from first_stage_runs import EACH, KL, SMALL, VQ, frames, plan, run
from training_runs import assert_same, state_of, weights_of

from diffsda.data.clip import Clips
from diffsda.data.stream import Take
from diffsda.errors import CheckpointError, InputError, TrainingError
from diffsda.firststage.build import build
from diffsda.firststage.files import load_first_stage
from diffsda.firststage.perceptual import Perceptual
from diffsda.firststage.recipe import configuration
from diffsda.train import first_stage
from diffsda.train.first_stage import fit
from diffsda.train.first_stage_frames import frames_of, mirrored
from diffsda.train.first_stage_options import FITS, FirstStageOptions, Fit, Plan
from diffsda.train.log import read_log

both = pytest.mark.parametrize("stage", [VQ, KL], ids=["vq", "kl"])
AGAIN = dataclasses.replace(EACH, resume=True)


def records(folder):
    return [{k: v for k, v in record.items() if k != "frames_per_s"} for record in read_log(folder)]


def assert_same_run(a, b):
    assert_same(state_of(a), state_of(b))
    newest = weights_of(a)[-1]
    assert newest == weights_of(b)[-1]
    assert (a / newest).read_bytes() == (b / newest).read_bytes()
    assert records(a) == records(b)


def test_a_few_frames_are_learnt(tmp_path):
    stage = dataclasses.replace(configuration("tiny"), codes=32)
    budget = Fit(steps=40, batch=4, lr=3e-4, disc_start=1000, revive=10)
    told = []
    data = frames(2, 32)
    result = fit(Plan(name="tiny", stage=stage, fit=budget), data, tmp_path / "run", EACH, tell=told.append)
    log = read_log(tmp_path / "run")
    first, last = (np.mean([r["psnr"] for r in part]) for part in (log[:5], log[-5:]))
    assert first < 10
    assert last > 17
    assert result.psnr > 15
    assert np.mean([r["codes_used"] for r in log[-5:]]) > 0.3
    assert told == ["frames: 8 frames of 2 clips, in memory"]


def test_a_variational_one_learns(tmp_path):
    result = run(tmp_path / "run", KL, steps=30, batch=4, lr=3e-4, disc_start=1000)
    log = read_log(tmp_path / "run")
    assert log[0]["psnr"] < 10
    assert np.mean([r["psnr"] for r in log[-5:]]) > 16
    assert "codes_used" not in log[0]
    assert result.psnr > 15


@both
def test_resuming_changes_nothing(tmp_path, stage):
    data = frames(lengths=True)
    for name, untils in (("whole", [None]), ("parts", [2, 3, 6, None])):
        for until in untils:
            options = dataclasses.replace(EACH, until=until, resume=until != untils[0])
            torch.manual_seed(99)
            result = fit(plan(stage, flip=True), data, tmp_path / name, options)
            assert result.finished == (until is None)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert [record["step"] for record in records(tmp_path / "parts")] == list(range(1, 9))


def test_the_seed_decides_the_run(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tmp_path / name, seed=seed, steps=3)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert records(tmp_path / "a")[0]["loss"] != records(tmp_path / "c")[0]["loss"]


def gradients(loss, parameters):
    found = torch.autograd.grad(loss, list(parameters), retain_graph=True, allow_unused=True)
    return sum(float(g.abs().sum()) for g in found if g is not None)


@both
def test_every_term_of_the_loss_has_a_gradient(tmp_path, stage):
    perceptual = Perceptual().requires_grad_(False)
    for head in perceptual.heads:
        head.fill_(1)
    options = FirstStageOptions(log_every=1)
    the = Plan(name="small", stage=stage, fit=SMALL, perceptual=perceptual.digest())
    held = first_stage._Run(the, frames(), tmp_path / "run", options, None, perceptual, print)
    x, step = next(held.frames.batches([0])), held.stepper
    passed = step._pass(x, 0)
    terms = step._terms(x, passed)
    assert set(terms) == {"l1", "perceptual", "latent"}
    model = step.model
    for name, term in terms.items():
        assert gradients(term, model.encoder.parameters()) > 0, name
        assert (gradients(term, model.decoder.parameters()) > 0) == (name != "latent")
    if stage is VQ:
        assert gradients(terms["latent"], model.quantize.parameters()) > 0
    weight, fooled = step._fool(passed.back, terms["l1"])
    assert float(weight) > 0
    assert gradients(fooled, model.decoder.parameters()) > 0
    before = [p.clone() for p in step.discriminator.parameters()]
    step._teach(x, passed.back.detach(), 0)
    moved = [not torch.equal(a, b) for a, b in zip(before, step.discriminator.parameters())]
    assert all(moved[:-1])  # The last bias shifts real and false scores alike.
    held.close()


def test_the_discriminator_comes_in_at_its_step(tmp_path):
    run(tmp_path / "run", steps=5, disc_start=3)
    assert ["discriminator" in record for record in records(tmp_path / "run")] == [False, False, False, True, True]
    run(tmp_path / "without", steps=5, disc_weight=0.0, disc_start=0)
    assert not any("discriminator" in record for record in records(tmp_path / "without"))


def test_what_a_run_leaves(tmp_path):
    result = run(tmp_path / "run", options=dataclasses.replace(EACH, save_every=2))
    assert weights_of(tmp_path / "run") == [f"weights-{step:08d}.safetensors" for step in (4, 6, 8)]
    loaded = load_first_stage(tmp_path / "run")
    assert loaded.digest() == result.model.digest()
    assert loaded.provenance["data"] == "shapes"
    assert loaded.provenance["step"] == 8
    about = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert (about["perceptual"], about["begun_from"]) == (None, None)
    assert about["frames"] == "20 frames of 5 clips, in memory"
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["digest"] == plan().digest
    shown = result.frames.shape, result.back.shape, bool((result.back.abs() <= 1).all())
    assert shown == ((12, 3, 16, 16), (12, 3, 16, 16), True)


def test_beginning_from_given_weights(tmp_path):
    start = build(VQ).eval()
    the = dataclasses.replace(plan(steps=1, lr=1e-30, disc_weight=0.0), begun_from=start.digest())
    result = fit(the, frames(), tmp_path / "run", EACH, start=start)
    # A codebook that is given is not begun anew with latents, as a fresh one is.
    assert torch.equal(result.model.quantize.embedding.weight, start.quantize.embedding.weight)
    assert torch.equal(result.model.encoder.conv_in.weight, start.encoder.conv_in.weight)
    fresh = fit(plan(steps=1, lr=1e-30, disc_weight=0.0), frames(), tmp_path / "fresh", EACH).model
    assert float(fresh.quantize.embedding.weight.detach().abs().max()) > 1 / 16
    other = build(KL)
    with pytest.raises(InputError, match=r"--start: got a first stage with kind kl, expected vq"):
        fit(dataclasses.replace(the, begun_from=other.digest()), frames(), tmp_path / "no", EACH, start=other)
    with pytest.raises(InputError, match="digest of start without its weights"):
        fit(the, frames(), tmp_path / "no", EACH)
    assert not (tmp_path / "no").exists()


def test_few_codes_in_use_are_told_once(tmp_path):
    told = []
    the = plan(dataclasses.replace(VQ, codes=512), steps=60, lr=1e-4, revive=0, batch=8, disc_start=100)
    options = dataclasses.replace(EACH, log_every=4, until=8)
    fit(the, frames(), tmp_path / "run", options, tell=told.append)
    warnings = [words for words in told if "codes are in use" in words]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: step 4: ")


def test_a_signal_saves_and_the_run_goes_on(tmp_path):
    data = frames()
    run(tmp_path / "whole", data=data)

    def stop(step, total, values):
        if step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    result = fit(plan(), data, tmp_path / "run", EACH, progress=stop)
    assert result.signal == signal.SIGINT
    assert (result.step, result.finished) in ((4, False), (5, False))
    assert state_of(tmp_path / "run")["step"] == result.step
    assert run(tmp_path / "run", options=AGAIN, data=data).finished
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_what_is_not_finite_stops_the_run_and_is_kept(tmp_path, monkeypatch):
    inner = first_stage.FirstStageStep._terms

    def poisoned(self, x, passed):
        terms = inner(self, x, passed)
        return {**terms, "l1": terms["l1"] * (float("nan") if len(seen) == 5 else 1)} if seen.append(1) is None else {}

    seen = []
    monkeypatch.setattr(first_stage.FirstStageStep, "_terms", poisoned)
    with pytest.raises(TrainingError, match=r"not finite at step 4; the frames are in .*offending-00000004\.npz") as e:
        run(tmp_path / "run", options=dataclasses.replace(EACH, save_every=4))
    assert "\n" not in str(e.value)
    held = np.load(tmp_path / "run" / "offending-00000004.npz")["x"]
    again = frames_of(frames(), VQ, batch=2, seed=0)
    assert np.array_equal(held, next(again.batches([4])).numpy())
    assert state_of(tmp_path / "run")["step"] == 4
    assert load_first_stage(tmp_path / "run").provenance["step"] == 4


class Fake:
    """A stream of clips whose pixels say which take they are of."""

    name, source, statistics = "fake", "", None

    def __init__(self, items=7, frames=1, size=16, mark="a" * 64):
        self.mark, self.items = mark, items
        self.shape, self.taken = (frames, 3, size, size), []

    def __len__(self):
        return self.items

    def labels(self):
        return {}

    def describe(self):
        return "made up"

    def fingerprint(self):
        return self.mark

    def batches(self, takes):
        for batch in takes:
            self.taken.append(list(batch))
            clips = np.zeros((len(batch), *self.shape), np.float32)
            for clip, take in zip(clips, batch):
                clip += np.linspace(-1, 1, self.items)[take.item]
                clip += np.arange(len(clip))[:, None, None, None] / 100
            yield clips


def test_frames_of_a_stream_are_a_function_of_seed_and_step(tmp_path):
    stream = Fake(frames=3)
    whole = list(frames_of(stream, VQ, batch=4, seed=5).batches(range(6)))
    late = list(frames_of(Fake(frames=3), VQ, batch=4, seed=5).batches(range(4, 6)))
    assert all(torch.equal(a, b) for a, b in zip(whole[4:], late, strict=True))
    assert whole[0].shape == (4, 3, 16, 16)
    items = [take.item for batch in stream.taken for take in batch]
    assert sorted(items[:7]) == list(range(7))
    assert len({take.seed for batch in stream.taken for take in batch}) == 24
    places = torch.cat(whole)[:, 0, 0, 0] - torch.linspace(-1, 1, 7)[items]
    assert len(set((places * 100).round().int().tolist())) == 3
    shown = frames_of(stream, VQ, batch=4, seed=5).shown(3)
    assert stream.taken[-1] == [Take(0), Take(3), Take(6)]
    assert shown.shape == (3, 3, 16, 16)


def test_fitting_on_a_stream_resumes_too(tmp_path):
    run(tmp_path / "whole", data=Fake())
    run(tmp_path / "parts", data=Fake(), options=dataclasses.replace(EACH, until=5))
    run(tmp_path / "parts", data=Fake(), options=AGAIN)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    with pytest.raises(InputError, match=r"begun on other frames \(fake, 7 items"):
        run(tmp_path / "parts", data=Fake(8), options=AGAIN)
    with pytest.raises(InputError, match=r"begun on other frames \(fake, 7 items"):
        run(tmp_path / "parts", data=Fake(mark="b" * 64), options=AGAIN)


def test_a_run_goes_on_with_all_of_its_frames_alone(tmp_path):
    data = frames(40)
    run(tmp_path / "run", data=data, options=dataclasses.replace(EACH, until=2))
    x = data.x.copy()
    # A pixel of one frame among 160.
    x[20, 1, :, 5, 5] += 0.01
    for other in (Clips(x, name="shapes"), data.select([1, 0, *range(2, 40)])):
        with pytest.raises(InputError, match="begun on other frames"):
            run(tmp_path / "run", data=other, options=AGAIN)
    run(tmp_path / "run", data=frames(40), options=dataclasses.replace(AGAIN, until=3))


def test_padding_is_never_a_frame():
    data = frames(4, lengths=True)
    dealt = frames_of(data, VQ, batch=11, seed=0)
    seen = next(dealt.batches([0]))
    assert dealt.describe() == "11 frames of 4 clips, in memory"
    real = torch.from_numpy(np.concatenate([x[:n] for x, n in zip(data.x, data.lengths)]))
    assert sorted(map(float, seen.sum((1, 2, 3)))) == pytest.approx(sorted(map(float, real.sum((1, 2, 3)))))


def test_half_of_the_frames_are_mirrored():
    x = torch.arange(2.0).view(1, 1, 1, 2).repeat(400, 1, 1, 1)
    turned = mirrored(x, 0, 3)[:, 0, 0, 0] == 1
    assert 150 < int(turned.sum()) < 250
    assert torch.equal(mirrored(x, 0, 3), mirrored(x, 0, 3))
    assert not torch.equal(mirrored(x, 0, 3), mirrored(x, 0, 4))


def test_frames_that_do_not_fit_are_refused():
    good = frames().x
    for data, words in (
        (frames(size=32), r"got clips \(4, 3, 32, 32\), expected \(V, 3, 16, 16\); change net\.channels or net\.size"),
        (Fake(size=8), r"fake: got clips \(1, 3, 8, 8\)"),
        (Clips(np.zeros((2, 5, 3), np.float32)), r"got clips \(5, 3\)"),
        (Clips(good * 2), r"pixels from -2 to 2, expected them in \[-1, 1\]"),
        (Clips(good, mask=np.zeros_like(good)), "missing values"),
    ):
        with pytest.raises(InputError, match=words):
            frames_of(data, VQ, batch=2, seed=0)


def test_what_cannot_be_is_refused_before_there_is_a_folder(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    for options, changes, words in (
        ({"log_every": 0}, {}, "log_every"),
        ({"precision": "fp8"}, {}, "precision: got 'fp8'"),
        ({"resume": True}, {}, "no such file, expected the state"),
        ({"device": "gpu"}, {}, "device: got 'gpu'"),
        ({}, {"disc_layers": 3}, r"fit\.disc_layers: got 3 for frames of 16 pixels, expected at most 2"),
    ):
        with pytest.raises(InputError, match=words):
            run(folder, options=dataclasses.replace(EACH, **options), **changes)
        assert not folder.exists()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(first_stage, "join", lambda device: type("P", (), {"world": 2, "device": torch.device("cpu")}))
    with pytest.raises(InputError, match="got 2 processes, expected one"):
        run(folder)
    assert not folder.exists()


def test_a_folder_in_use_and_another_plan_are_refused(tmp_path):
    run(tmp_path / "run", options=dataclasses.replace(EACH, until=2))
    with pytest.raises(InputError, match="exists already"):
        run(tmp_path / "run")
    with pytest.raises(InputError, match=r"fit\.lr was 0\.001, now 0\.5"):
        run(tmp_path / "run", options=AGAIN, lr=0.5)
    (tmp_path / "run" / "state.pt").write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match="damaged"):
        run(tmp_path / "run", options=AGAIN)


def test_settings_no_fit_can_have():
    for change, words in (
        ({"steps": 0}, r"fit\.steps: got 0"),
        ({"lr": 0}, r"fit\.lr: got 0"),
        ({"lr": float("nan")}, r"fit\.lr: got nan"),
        ({"batch": 2.0}, r"fit\.batch: got 2\.0"),
        ({"seed": -1}, r"fit\.seed"),
        ({"disc_weight": True}, r"fit\.disc_weight"),
    ):
        with pytest.raises(InputError, match=words):
            Fit(**change)
    assert FITS.keys() == {"vq4", "vq8", "kl8", "tiny"}
    assert plan().digest != plan(lr=0.1).digest
    assert plan().digest == dataclasses.replace(plan(), name="other").digest
