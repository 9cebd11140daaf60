"""A loss that is not finite ends the run, and the very batch that did it lies beside the last good checkpoint."""

import numpy as np
import pytest
import torch
from training_runs import clips, records, state_of, vector, vector_words, weights_of

from diffsda.cli import main
from diffsda.data.arrays import write
from diffsda.data.clip import Clips
from diffsda.errors import TrainingError
from diffsda.model import DiffSDA
from diffsda.train import loop
from diffsda.train.loop import Options, train
from diffsda.train.order import Order
from diffsda.train.step import draw

CPU = torch.device("cpu")
PLAIN = {"whiten": False, "log_every": 1}


def poisoned(recipe, step, **kind):
    """Clips of which one, first met at ``step``, is too large to square in float32."""
    data = clips(recipe, 40, **kind)
    order = Order(40, recipe.optim.batch, recipe.optim.seed)
    x = data.x.copy()
    x[order.indices(step)[1], 0] = 1e30
    return Clips(x, data.lengths, data.mask, name=data.name)


@pytest.mark.parametrize("kind", [{}, {"lengths": True, "mask": True}])
def test_the_offending_batch_is_the_very_one(tmp_path, kind):
    recipe = vector(dropout=0.0, draws=2)
    data = poisoned(recipe, 5, **kind)
    with pytest.raises(
        TrainingError, match=r"not finite at step 5; the batch is in .*offending-00000005\.npz"
    ) as caught:
        train(recipe, data, tmp_path / "run", Options(save_every=5, **PLAIN))
    assert "\n" not in str(caught.value)
    assert state_of(tmp_path / "run")["step"] == 5
    assert weights_of(tmp_path / "run") == ["weights-00000005.safetensors"]
    assert [record["step"] for record in records(tmp_path / "run")] == [1, 2, 3, 4, 5]
    held = np.load(tmp_path / "run" / "offending-00000005.npz", allow_pickle=False)
    indices = Order(40, 4, 0).indices(5)
    assert np.array_equal(held["indices"], indices)
    frames = held["x"].shape[1]
    assert np.array_equal(held["x"], data.x[indices, :frames])
    draws = draw(recipe, torch.Size(held["x"].shape), 5, CPU)
    assert np.array_equal(held["sigma"], draws.sigma)
    assert np.array_equal(held["noise"], draws.noise)
    assert ("lengths" in held) == ("mask" in held) == bool(kind)
    # The checkpoint before it and what the file holds give the loss again, and one clip is to blame.
    model = DiffSDA(recipe)
    model.load_state_dict(state_of(tmp_path / "run")["model"])
    got = {k: torch.from_numpy(held[k]) for k in held.files}

    def loss(rows):
        extra = {k: got[k][rows] for k in ("lengths", "mask") if k in got}
        sigma, noise = got["sigma"][:, rows].flatten(0, 1), got["noise"][:, rows].flatten(0, 1)
        with torch.no_grad():
            return float(model.loss(got["x"][rows], sigma, noise, **extra))

    assert not np.isfinite(loss([0, 1, 2, 3]))
    assert not np.isfinite(loss([1]))
    assert np.isfinite(loss([0, 2, 3]))


def test_the_noise_in_the_file_is_the_noise_of_the_step(tmp_path, monkeypatch):
    recipe = vector(accumulate=2)
    seen = []
    whole = DiffSDA.loss

    def fails_at_3(self, x, sigma, noise, *rest, **options):
        seen.append((x.clone(), sigma.clone(), noise.clone()))
        loss = whole(self, x, sigma, noise, *rest, **options)
        return loss * float("nan") if len(seen) > 6 else loss

    monkeypatch.setattr(DiffSDA, "loss", fails_at_3)
    with pytest.raises(TrainingError, match="at step 3"):
        train(recipe, clips(recipe), tmp_path / "run")
    held = np.load(tmp_path / "run" / "offending-00000003.npz", allow_pickle=False)
    parts = seen[6:8]
    assert np.array_equal(held["x"], torch.cat([x for x, _, _ in parts])), "whitened, as the network saw it"
    assert np.array_equal(held["sigma"][0], torch.cat([sigma for _, sigma, _ in parts]))
    assert np.array_equal(held["noise"][0], torch.cat([noise for _, _, noise in parts]))


def test_a_bad_gradient_behind_a_good_loss_counts(tmp_path, monkeypatch):
    whole = DiffSDA.loss
    calls = []

    def bad_gradient(self, *words, **options):
        calls.append(1)
        loss = whole(self, *words, **options)
        if len(calls) == 3:
            loss.register_hook(lambda g: g * float("inf"))
        return loss

    monkeypatch.setattr(DiffSDA, "loss", bad_gradient)
    recipe = vector()
    with pytest.raises(TrainingError, match="the loss or its gradient was not finite at step 2"):
        train(recipe, clips(recipe), tmp_path / "run")


def seldom(monkeypatch, every):
    guard = loop.Guard
    monkeypatch.setattr(loop, "Guard", lambda device: guard(device, every=every))


@pytest.mark.parametrize(
    ("every", "options", "noticed"),
    [
        (50, {"log_every": 100, "save_every": 1000}, 50),
        (50, {"log_every": 7, "save_every": 1000}, 7),
        (50, {"log_every": 100, "save_every": 4}, 4),
        (50, {"log_every": 100, "save_every": 1000, "until": 9}, 9),
    ],
)
def test_a_device_that_is_looked_at_seldom_still_names_the_step(tmp_path, monkeypatch, every, options, noticed):
    """A bad step 2 is found at the next look, record or save, and never reaches a file."""
    seldom(monkeypatch, every)
    steps = []
    advance = loop._Run._advance
    monkeypatch.setattr(loop._Run, "_advance", lambda self: steps.append(self.step) or advance(self))
    recipe = vector(dropout=0.0, steps=60, ema=0.9)
    with pytest.raises(TrainingError, match=r"at step 2; .*offending-00000002\.npz"):
        train(recipe, poisoned(recipe, 2), tmp_path / "run", Options(whiten=False, **options))
    assert len(steps) == noticed
    assert (tmp_path / "run" / "offending-00000002.npz").is_file()
    assert not weights_of(tmp_path / "run")
    assert not (tmp_path / "run" / "state.pt").exists()
    assert not records(tmp_path / "run")


def test_the_last_good_checkpoint_stays_when_a_save_finds_the_bad_step(tmp_path, monkeypatch):
    seldom(monkeypatch, 50)
    recipe = vector(dropout=0.0, steps=60)
    with pytest.raises(TrainingError, match="at step 5"):
        train(recipe, poisoned(recipe, 5), tmp_path / "run", Options(whiten=False, log_every=100, save_every=4))
    state = state_of(tmp_path / "run")
    assert state["step"] == 4
    assert all(bool(torch.isfinite(value).all()) for value in state["model"].values())
    assert weights_of(tmp_path / "run") == ["weights-00000004.safetensors"]


def test_the_command_line_says_it_in_one_line(tmp_path, capsys):
    recipe = vector()
    data = poisoned(recipe, 3)
    write(tmp_path / "clips.npz", {"x": data.x})
    words = ["train", *vector_words(), "--data", str(tmp_path / "clips.npz"), "--out", str(tmp_path / "run")]
    assert main([*words, "--whiten", "False", "--device", "cpu"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("diffsda train: error: the loss or its gradient was not finite at step 3; the batch is")
    assert (tmp_path / "run" / "offending-00000003.npz").is_file()
