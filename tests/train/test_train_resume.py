"""Ten steps are five, a resume and five more, bit for bit; and a state is refused where it does not belong."""

import dataclasses
import random

import numpy as np
import pytest
import torch
from training_runs import assert_same_run, clips, records, state_of, vector, video, weights_of

from diffsda.checkpoint import load
from diffsda.errors import CheckpointError, InputError
from diffsda.train import loop
from diffsda.train.loop import Options, train
from diffsda.train.resume import read_state

CASES = {
    "series": (vector(), {}),
    "series with lengths, masks, 10 draws, 2 parts, an average": (
        vector(draws=10, accumulate=2, ema=0.99),
        {"lengths": True, "mask": True},
    ),
    "series, one level a clip, cosine": (
        vector(schedule="cosine", warmup=3, ema=0.9).replace(noise={"per_frame": False}),
        {"lengths": True},
    ),
    "series with lengths, random windows": (vector(window=0.5, draws=2), {"lengths": True}),
    "series, the authors' curve over epochs": (vector(schedule="authors", steps=None, epochs=4), {"n": 10}),
    "video with lengths, masks, 2 parts, an average": (
        video(accumulate=2, ema=0.9, draws=2),
        {"lengths": True, "mask": True},
    ),
}
LOG = Options(log_every=1)
GO_ON = Options(log_every=1, resume=True)


@pytest.mark.parametrize("name", CASES)
def test_resuming_changes_nothing(tmp_path, name):
    recipe, kind = CASES[name]
    data = clips(recipe, **kind)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    total = train(recipe, data, whole, LOG).step
    middle = total // 2
    first = train(recipe, data, parts, dataclasses.replace(LOG, until=middle))
    assert (first.step, first.finished, first.signal) == (middle, False, None)
    torch.manual_seed(1234)
    torch.rand(random.Random(0).randrange(99))
    last = train(recipe, data, parts, GO_ON)
    assert (last.step, last.finished) == (total, True)
    assert [record["step"] for record in records(parts)] == list(range(1, total + 1))
    assert_same_run(parts, whole)


def test_resuming_at_every_step_changes_nothing(tmp_path):
    recipe = vector(steps=6, ema=0.9)
    data = clips(recipe, lengths=True)
    train(recipe, data, tmp_path / "whole", LOG)
    train(recipe, data, tmp_path / "parts", dataclasses.replace(LOG, until=1))
    for step in range(2, 7):
        train(recipe, data, tmp_path / "parts", dataclasses.replace(GO_ON, until=step))
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_dropout_is_on_while_training_and_off_in_the_result(tmp_path):
    data = clips(vector())
    with_it = train(vector(dropout=0.3), data, tmp_path / "with", LOG).model
    train(vector(dropout=0.0), data, tmp_path / "without", LOG)
    assert records(tmp_path / "with")[0]["loss"] != records(tmp_path / "without")[0]["loss"]
    x = torch.from_numpy(data.x[:2])
    assert torch.equal(with_it.encode(x).static, with_it.encode(x).static)


def test_the_seed_decides_the_run(tmp_path):
    data = clips(vector())
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(vector(seed=seed, steps=3), data, tmp_path / name, LOG)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert records(tmp_path / "a")[0]["loss"] != records(tmp_path / "c")[0]["loss"]


def test_a_resume_with_nothing_left_changes_nothing(tmp_path):
    recipe = vector(steps=3)
    data = clips(recipe)
    train(recipe, data, tmp_path / "run", LOG)
    before = state_of(tmp_path / "run"), records(tmp_path / "run")
    result = train(recipe, data, tmp_path / "run", GO_ON)
    assert (result.step, result.finished) == (3, True)
    assert before[1] == records(tmp_path / "run")
    assert weights_of(tmp_path / "run") == ["weights-00000003.safetensors"]


def test_a_kill_between_state_and_model_file_loses_nothing(tmp_path, monkeypatch):
    recipe = vector(ema=0.9)
    data = clips(recipe)
    train(recipe, data, tmp_path / "whole", LOG)

    def killed(model, path, **options):
        if "00000010" in str(path):
            raise KeyboardInterrupt
        return save(model, path, **options)

    save = loop.save
    monkeypatch.setattr(loop, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, data, tmp_path / "run", Options(log_every=1, save_every=5))
    assert state_of(tmp_path / "run")["step"] == 10
    assert load(tmp_path / "run").provenance["step"] == 5
    monkeypatch.setattr(loop, "save", save)
    train(recipe, data, tmp_path / "run", GO_ON)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_records_a_kill_undid_are_dropped(tmp_path):
    recipe = vector()
    data = clips(recipe)
    train(recipe, data, tmp_path / "whole", LOG)
    train(recipe, data, tmp_path / "run", dataclasses.replace(LOG, until=5))
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write('{"step": 6, "loss": 123.0}\n{"step": 7, "loss": 12')
    train(recipe, data, tmp_path / "run", GO_ON)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_what_a_kill_left_half_written_goes(tmp_path):
    recipe = vector()
    data = clips(recipe)
    train(recipe, data, tmp_path / "run", dataclasses.replace(LOG, until=5))
    (tmp_path / "run" / ".0123456789abcdef.part").write_bytes(b"half a file")
    (tmp_path / "run" / "notes.part").write_text("mine")
    train(recipe, data, tmp_path / "run", GO_ON)
    assert [path.name for path in (tmp_path / "run").glob("*.part")] == ["notes.part"]
    assert not list((tmp_path / "run").glob(".*"))


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run at step 2 of 10, which tests only read."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    train(vector(), clips(vector()), folder, Options(until=2))
    return folder


def refused(recipe, data, folder, options=GO_ON):
    """Resume, expect InputError, and see that the folder was not touched; return the message."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError) as caught:
        train(recipe, data, folder, options)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_other_data_of_another_size_is_refused(begun):
    words = refused(vector(), clips(vector(), 12), begun)
    assert "begun on 10 clips, got 12; resume with the same data" in words


def test_other_data_of_the_same_size_is_refused(begun):
    assert "begun on other clips" in refused(vector(), clips(vector(), seed=1), begun)


def test_another_choice_of_whitening_is_refused(begun):
    words = refused(vector(), clips(vector()), begun, Options(resume=True, whiten=False))
    assert "another --whiten" in words


def test_another_recipe_is_refused_by_the_first_setting_that_differs(begun):
    words = refused(vector(lr=0.5, batch=5), clips(vector()), begun)
    assert "optim.lr was 0.001, now 0.5; use the same settings or a new folder" in words


def test_another_name_is_the_same_recipe(tmp_path):
    recipe = vector(steps=2)
    train(recipe, clips(recipe), tmp_path / "run", Options(until=1))
    assert train(recipe.replace(name="mine"), clips(recipe), tmp_path / "run", GO_ON).finished


def test_resuming_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"state\.pt: no such file, expected the state of a run to resume"):
        train(vector(), clips(vector()), tmp_path / "nowhere", GO_ON)
    assert not (tmp_path / "nowhere").exists()


def test_a_damaged_state_is_refused_in_one_line(begun, tmp_path):
    whole = (begun / "state.pt").read_bytes()
    path = tmp_path / "state.pt"
    draw = np.random.default_rng(0)
    damaged = [
        b"",
        b"rubbish",
        whole[:100],
        *(whole[: draw.integers(len(whole))] for _ in range(20)),
        bytes(len(whole)),
    ]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"state\.pt: damaged \(\w+\), expected the state of a run") as caught:
            read_state(tmp_path, vector())
        assert "\n" not in str(caught.value)


def test_a_foreign_or_newer_state_is_refused(begun, tmp_path):
    state = state_of(begun)
    for foreign in ([1, 2], {"step": 3}, torch.zeros(2)):
        torch.save(foreign, tmp_path / "state.pt")
        with pytest.raises(CheckpointError, match="got something else, expected the state of a run"):
            read_state(tmp_path, vector())
    torch.save({**state, "format": 2}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="got format 2, expected 1"):
        read_state(tmp_path, vector())
    torch.save(Options(), tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="damaged"):
        read_state(tmp_path, vector())


def test_the_state_holds_plain_data_only(begun):
    state = state_of(begun)
    assert (state["step"], state["clips"], state["digest"]) == (2, 10, vector().digest)
    assert set(state["whitening"]) == {"mean", "std"}


def test_other_pixels_are_refused(tmp_path):
    recipe = video(steps=4)
    train(recipe, clips(recipe), tmp_path / "run", dataclasses.replace(LOG, until=2))
    with pytest.raises(InputError, match="begun on other clips"):
        train(recipe, clips(recipe, seed=1), tmp_path / "run", GO_ON)
    backwards = clips(recipe).select(slice(None, None, -1))
    with pytest.raises(InputError, match="begun on other clips"):
        train(recipe, backwards, tmp_path / "run", GO_ON)
    assert train(recipe, clips(recipe), tmp_path / "run", GO_ON).finished
