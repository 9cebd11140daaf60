"""A result is the same bytes whatever the order, the parts, the neighbours and the stops; and it is right."""

import numpy as np
import pytest
from golden_exports import prior_of
from infer_jobs import (
    RECIPE,
    WHITENING,
    arrays_of,
    assert_whole,
    bytes_of,
    clip,
    folder_of,
    infer,
    job_of,
    lines,
    session,
)

from diffsda.data.arrays import write
from diffsda.export.infer import TASKS, read_job, seed_of, task_named
from diffsda.export.infer.basis import from_prior

NOISES = [(name, noise) for name, kind in TASKS.items() for noise in kind.noises or (None,)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Eleven clips of two lengths."""
    return folder_of(tmp_path_factory.mktemp("clips"), 11)


def records(clips, task):
    """A line for each clip; swaps pair it with the next, of another length more often than not."""
    if task == "generate":
        return [{"key": f"k{i}"} for i in range(11)]
    if task != "swap":
        return [{"key": f"k{i}", "path": str(clips / f"{i}.npz")} for i in range(11)]
    return [
        {"key": f"k{i}", "static": str(clips / f"{i}.npz"), "dynamic": str(clips / f"{(i + 1) % 11}.npz")}
        for i in range(11)
    ]


def needing(task, runner, noise):
    """A task with the prior or the components it needs; the name of one that needs neither."""
    if task not in ("generate", "traverse"):
        return task
    prior = prior_of(runner, 5)
    own = {"prior": prior, "prior_digest": "a prior"}
    if task == "traverse":
        own = {"basis": from_prior(prior, "dynamic", 1, samples=30), "alphas": (0.0, 1.0)}
    return task_named(task, runner, noise=noise, **own)


@pytest.mark.parametrize("hidden", [6, 8])
@pytest.mark.parametrize(("task", "noise"), NOISES)
def test_order_shards_and_neighbours(task, noise, hidden, clips, tmp_path):
    runner = session(RECIPE.replace(encoder={"hidden": hidden}))
    told = records(clips, task)
    if noise == "static":
        told = [{**line, "dynamic": line["static"]} for line in told]
    job = job_of(tmp_path / "job.jsonl", told)
    task = needing(task, runner, noise)
    assert infer(job, tmp_path / "whole", task, runner, noise=noise).done == 11
    assert_whole(tmp_path / "whole", [line["key"] for line in told])
    whole = bytes_of(tmp_path / "whole")

    other = job_of(tmp_path / "other.jsonl", [told[i] for i in np.random.default_rng(0).permutation(11)])
    infer(other, tmp_path / "other", task, runner, noise=noise)
    assert bytes_of(tmp_path / "other") == whole

    for part in (1, 0, 2):
        infer(job, tmp_path / "parts", task, runner, noise=noise, shard=(part, 3))
    assert_whole(tmp_path / "parts", [line["key"] for line in told])
    assert bytes_of(tmp_path / "parts") == whole

    alone = job_of(tmp_path / "alone.jsonl", [told[4]])
    infer(alone, tmp_path / "alone", task, runner, noise=noise, readers=1)
    assert bytes_of(tmp_path / "alone").items() <= whole.items()


@pytest.mark.parametrize("task", ["encode", "reconstruct"])
def test_video_whatever_the_order(task, tmp_path):
    net = {"kind": "unet", "width": 32, "multipliers": (1,), "attention": (), "blocks": 1}
    coder = {name: value for name, value in net.items() if name != "kind"}
    shape = {"modality": "video", "channels": 2, "size": 8}
    runner = session(RECIPE.replace(clips=shape, backbone=net, encoder={**coder, "hidden": 8}, sampling={"steps": 2}))
    draw = np.random.default_rng(0)
    told = []
    for i in range(7):
        write(tmp_path / f"{i}.npy", {"x": draw.normal(size=(3 + i % 2, 2, 8, 8)).astype(np.float32)})
        told.append({"key": f"k{i}", "path": f"{i}.npy"})
    for name, order in (("one", told), ("two", told[::-1])):
        infer(job_of(tmp_path / f"{name}.jsonl", order), tmp_path / name, task, runner, noise=None)
        assert_whole(tmp_path / name, [line["key"] for line in told])
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    if task == "reconstruct":
        assert arrays_of(tmp_path / "one", "k3")["x"].shape == (4, 2, 8, 8)


def test_stopped_anywhere_and_gone_on_with(clips, tmp_path):
    infer(clips, tmp_path / "whole")
    whole, all_of_it = bytes_of(tmp_path / "whole"), lines(tmp_path / "whole")
    for kept in range(len(all_of_it)):
        out = tmp_path / f"after-{kept}"
        infer(clips, out, shard=(0, 2))
        path = out / "results.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:kept]) + b'{"key": "torn')
        summary = infer(clips, out)
        assert (summary.skipped, summary.done) == (min(kept, 6), 11 - min(kept, 6))
        assert bytes_of(out) == whole
        assert_whole(out, [line["key"] for line in all_of_it])
        again = infer(clips, out)
        assert (again.skipped, again.done, again.failed) == (11, 0, {})
        assert_whole(out, [line["key"] for line in all_of_it])


def test_a_seed_and_a_key_make_a_clip_s_noise(clips, tmp_path):
    twice = [{"key": key, "path": str(clips / "0.npz")} for key in ("a", "b")]
    infer(job_of(tmp_path / "job.jsonl", twice), tmp_path / "out")
    infer(job_of(tmp_path / "job.jsonl", twice), tmp_path / "seven", seed=7)
    made = [arrays_of(tmp_path / out, key)["x"] for out in ("out", "seven") for key in ("a", "b")]
    for i, one in enumerate(made):
        assert not any(np.allclose(one, other) for other in made[i + 1 :])


def test_results_are_what_the_verbs_make(clips, tmp_path):
    runner = session()
    donors = {"key": "k", "static": str(clips / "2.npz"), "dynamic": str(clips / "1.npz")}
    job = job_of(tmp_path / "job.jsonl", [donors])
    infer(clips, tmp_path / "encode", "encode", runner)
    infer(clips, tmp_path / "fresh", "reconstruct", runner, seed=3)
    infer(job, tmp_path / "swap", "swap", runner, noise="dynamic")
    one, other = (WHITENING.apply(clip(i, frames)[None]) for i, frames in ((1, 5), (2, 6)))
    factors, made = runner.encode(one), arrays_of(tmp_path / "encode", "1")
    assert {name: value.shape for name, value in made.items()} == {"static": (4,), "dynamic": (5, 2)}
    np.testing.assert_allclose(made["static"], factors.static[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(made["dynamic"], factors.dynamic[0], rtol=1e-5, atol=1e-6)
    fresh = runner.reconstruct(one, noise="fresh", seed=[seed_of("1", 3)])
    swapped = runner.swap(other, one)
    for folder, key, value in (("fresh", "1", fresh), ("swap", "k", swapped)):
        raw = arrays_of(tmp_path / folder, key)["x"]
        assert raw.dtype == np.float32
        np.testing.assert_allclose(raw, WHITENING.undo(value)[0], rtol=1e-4, atol=1e-4)


def test_clips_in_the_model_s_units_stay_there(clips, tmp_path):
    runner = session()
    infer(clips, tmp_path / "out", "reconstruct", runner, as_is=True, noise="own")
    want = runner.reconstruct(clip(0)[None])[0]
    np.testing.assert_allclose(arrays_of(tmp_path / "out", "0")["x"], want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_batch_with_lengths_is_its_clips(tmp_path, suffix):
    (tmp_path / "batch").mkdir()
    (tmp_path / "single").mkdir()
    x, lengths = np.stack([clip(i, 7) for i in range(5)]), np.array([7, 2, 5, 7, 3])
    write(tmp_path / "batch" / f"b{suffix}", {"x": x, "lengths": lengths})
    told = []
    for i, n in enumerate(lengths):
        padded = i % 2
        arrays = {"x": x[i], "lengths": np.array(n)} if padded else {"x": x[i, :n]}
        write(tmp_path / "single" / f"{i}{suffix}", arrays)
        told.append({"key": f"b/{i}", "path": f"single/{i}{suffix}"})
    infer(tmp_path / "batch", tmp_path / "one")
    infer(job_of(tmp_path / "job.jsonl", told), tmp_path / "two")
    assert len(read_job(tmp_path / "batch")) == 5
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    assert [len(arrays_of(tmp_path / "one", f"b/{i}")["x"]) for i in range(5)] == lengths.tolist()


def test_missing_values_are_masked(tmp_path):
    (tmp_path / "job").mkdir()
    x, mask = clip(0), np.zeros((5, 3), np.float32)
    mask[2, 1] = 1
    for name, value in (("a", np.nan), ("b", 7.0)):
        x[2, 1] = value
        write(tmp_path / "job" / f"{name}.npz", {"x": x, "mask": mask})
    infer(tmp_path / "job", tmp_path / "out", "encode")
    assert len(set(bytes_of(tmp_path / "out").values())) == 1


def test_results_can_be_a_job(clips, tmp_path):
    infer(clips, tmp_path / "one")
    assert infer(tmp_path / "one" / "clips", tmp_path / "two", "encode").done == 11
