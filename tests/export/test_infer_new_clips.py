"""Jobs that need a prior: clips that are new, and walks from real ones along a component."""

import json

import numpy as np
import pytest
import torch
from golden_exports import prior_of
from infer_jobs import FEATURES, WHITENING, arrays_of, assert_whole, bytes_of, folder_of, infer, job_of, lines, model
from infer_jobs import session as session_of

from diffsda.checkpoint import save
from diffsda.cli import main
from diffsda.errors import InputError
from diffsda.export.infer import Settings, read_job, run, task_named
from diffsda.export.infer.basis import from_prior, read_basis
from diffsda.prior.file import save_prior

FRAMES = 5


@pytest.fixture
def prior():
    return prior_of(model(), FRAMES)


def new(prior, job, out, **settings):
    runner = session_of()
    own = {"prior": prior, "prior_digest": "a prior", "prior_steps": None}
    task = task_named("generate", runner, noise=None, steps=3, **own)
    return run(runner, job, task, out, Settings(tile=4, **settings), model="a digest")


def test_a_number_is_a_job_of_keys(tmp_path):
    assert [item.key for item in read_job("3", ()).items] == ["0", "1", "2"]
    told = job_of(tmp_path / "keys.jsonl", [{"key": "a"}, {"key": "b", "path": "passed over"}])
    assert [(item.key, item.paths) for item in read_job(told, ()).items] == [("a", ()), ("b", ())]
    for bad, words in (("0", "from 1 to"), ("-1", "cannot be read"), (str(tmp_path), "or a number of clips")):
        with pytest.raises(InputError, match=words):
            read_job(bad, ())
    with pytest.raises(InputError, match="cannot be read"):
        read_job("3")


def test_new_clips_follow_from_key_and_seed_alone(tmp_path, prior):
    summary = new(prior, read_job("6", ()), tmp_path / "a")
    assert (summary.done, summary.failed) == (6, {})
    assert_whole(tmp_path / "a", [str(i) for i in range(6)])
    few = job_of(tmp_path / "few.jsonl", [{"key": "4"}, {"key": "1"}])
    new(prior, read_job(few, ()), tmp_path / "b")
    for key in "14":
        for name, value in arrays_of(tmp_path / "b", key).items():
            assert np.array_equal(value, arrays_of(tmp_path / "a", key)[name])
    new(prior, read_job(few, ()), tmp_path / "c", seed=1)
    assert not set(bytes_of(tmp_path / "c").values()) & set(bytes_of(tmp_path / "b").values())
    made = arrays_of(tmp_path / "a", "4")
    assert {name: value.shape for name, value in made.items()} == {
        "x": (FRAMES, FEATURES),
        "static": (4,),
        "dynamic": (FRAMES, 2),
    }


def test_new_clips_are_those_of_the_prior_and_the_model(tmp_path, prior):
    from diffsda.export.infer import seed_of
    from diffsda.tasks.generate import generate

    new(prior, read_job("1", ()), tmp_path / "a")
    seed = seed_of("0", 0)
    f = prior.sample(1, [seed])
    wanted = WHITENING.undo(generate(session_of(), f, steps=3, seed=seed))[0]
    made = arrays_of(tmp_path / "a", "0")
    assert np.abs(made["x"] - wanted).max() < 1e-5
    # A tile of another size sums in another order.
    assert np.abs(made["static"] - f.static[0].numpy()).max() < 1e-4


def test_another_prior_is_another_job(tmp_path, prior):
    new(prior, read_job("1", ()), tmp_path / "a")
    runner = session_of()
    task = task_named("generate", runner, prior=prior, prior_digest="another")
    with pytest.raises(InputError, match="prior: got 'another', expected 'a prior'"):
        run(runner, read_job("1", ()), task, tmp_path / "a", Settings(tile=4), model="a digest")
    with pytest.raises(InputError, match="prior: got none, expected one for generate"):
        task_named("generate", runner)


def walk(tmp_path, out, basis, **own):
    runner = session_of()
    task = task_named("traverse", runner, steps=3, basis=basis, **{"alphas": (-2.0, 0.0, 2.0), **own})
    job = tmp_path / "job"
    return run(runner, job if job.exists() else folder_of(job, 3, (FRAMES,)), task, out, Settings(tile=2), model="m")


@pytest.mark.parametrize("factor", ["static", "dynamic"])
def test_a_walk_moves_one_factor_and_passes_through_the_reconstruction(tmp_path, prior, factor):
    basis = from_prior(prior, factor, 2, samples=64)
    assert walk(tmp_path, tmp_path / "out", basis, component=2).done == 3
    infer(tmp_path / "job", tmp_path / "back", "reconstruct", noise="own", steps=3, tile=2)
    made = arrays_of(tmp_path / "out", "1")
    assert made["x"].shape == (3, FRAMES, FEATURES)
    assert made["alpha"].tolist() == [-2, 0, 2]
    assert np.abs(made["x"][1] - arrays_of(tmp_path / "back", "1")["x"]).max() < 1e-5
    assert np.abs(made["x"][0] - made["x"][2]).max() > 1e-3


def test_walks_that_cannot_be(tmp_path, prior):
    basis = from_prior(prior, "static", 2, samples=64)
    for own, words in (
        ({"component": 3}, "component: got 3, expected 1 to 2"),
        ({"alphas": ()}, "alphas: got"),
        ({"alphas": (float("nan"),)}, "alphas: got"),
    ):
        with pytest.raises(InputError, match=words):
            walk(tmp_path, tmp_path / "out", basis, **own)
    assert walk(tmp_path, tmp_path / "out", basis).done == 3
    with pytest.raises(InputError, match="basis: got"):
        walk(tmp_path, tmp_path / "out", basis, component=2)


def test_components_from_a_file(tmp_path, prior):
    basis = from_prior(prior, "static", 2, samples=64)
    parts = {f"components_{name}": getattr(basis, name) for name in ("mean", "std", "directions", "explained")}
    np.savez(tmp_path / "walk.npz", x=np.zeros(3), **parts)
    found = read_basis(tmp_path / "walk.npz", "static", 4)
    assert np.array_equal(found.directions, basis.directions)
    with pytest.raises(InputError, match="the width of the model's dynamic factor"):
        read_basis(tmp_path / "walk.npz", "dynamic", 2)
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="holds no components_mean"):
        read_basis(tmp_path / "other.npz", "static", 4)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "walk.npz").read_bytes()[:50])
    with pytest.raises(InputError, match=r"cut\.npz: cannot be read"):
        read_basis(tmp_path / "cut.npz", "static", 4)


def test_by_the_command(tmp_path, capsys, prior):
    folder = tmp_path / "run"
    folder.mkdir()
    save(model(), folder / "weights-00000001.safetensors")
    words = ["--model", str(folder), "--tile", "2", "--steps", "2", "--json"]
    asked = ["infer", "4", *words, "--task", "generate", "--out", str(tmp_path / "new")]
    assert main(asked) == 2
    assert "--prior: there is no" in capsys.readouterr().err
    save_prior(prior, folder / "prior.safetensors")
    assert main(asked) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 4
    job = folder_of(tmp_path / "job", 2, (FRAMES,))
    asked = ["infer", str(job), *words, "--task", "traverse", "--samples", "50", "--alphas", "-1", "0", "1"]
    assert main([*asked, "--out", str(tmp_path / "walks")]) == 0
    assert len(lines(tmp_path / "walks")) == 2
    assert main([*asked, "--out", str(tmp_path / "film"), "--write", "mp4"]) == 2
    assert "write: got mp4 for traverse with a model of" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["generate", "traverse"])
def test_an_exported_folder_brings_its_prior(exported, tmp_path, task):
    _, golden, folder = exported("timeseries")
    np.savez(tmp_path / "clips.npz", x=golden["x"][:2])
    job = "2" if task == "generate" else str(tmp_path / "clips.npz")
    more = ["--samples", "40", "--alphas", "0", "1"] if task == "traverse" else []
    words = ["infer", job, "--model", str(folder), "--task", task, "--tile", "2", "--steps", "2", "--as-is", *more]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    x = arrays_of(tmp_path / "out", lines(tmp_path / "out")[0]["key"])["x"]
    assert x.shape == ((2,) if task == "traverse" else ()) + golden["x"].shape[1:]


def test_an_exported_prior_draws_what_the_prior_draws(exported):
    from diffsda.export.parts import ExportedPrior
    from diffsda.export.session import OnnxSession

    real, golden, folder = exported("timeseries")
    prior = prior_of(real, golden["x"].shape[1])
    held = ExportedPrior(OnnxSession(folder))
    with torch.no_grad():
        wanted, got = prior.sample(3, 5), held.sample(3, 5)
        assert float((wanted.pack() - got.pack()).abs().max()) < 1e-4
        assert float((prior.invert(wanted) - held.invert(wanted)).abs().max()) < 1e-4
