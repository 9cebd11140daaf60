"""The multifactor protocol on clips whose labels are painted in: perfect swaps, copies, samples, flicker."""

import math

import numpy as np
import protocol_jobs as jobs
import pytest
import torch

from diffsda.data.clip import Clips
from diffsda.errors import InputError
from diffsda.evaluate.pairs import of_job
from diffsda.evaluate.protocols import protocol
from diffsda.evaluate.result import merge
from diffsda.factors import Factors
from diffsda.prior.latent import Sizes

LABELS = (*jobs.STATIC, *jobs.DYNAMIC)
KEPT = len(jobs.STATIC)


class FrameReader(jobs.PaintReader):
    """Reads the paint of every frame too."""

    def __init__(self, factors, frame_labels=()):
        super().__init__(factors)
        self.frame_labels = frame_labels

    def read_frames(self, clips, lengths=None):
        out = {}
        for name in self.frame_labels:
            seen = np.round(clips[:, :, 0, 0, list(jobs.CLASSES).index(name)] * 4).astype(int)
            out[name] = np.eye(max(len(self.factors[name]), 2))[np.clip(seen, 0, 1)]
            if lengths is not None:
                out[name][np.arange(clips.shape[1])[None] >= np.asarray(lengths)[:, None]] = np.nan
        return out


class Shelf:
    """Hands out the reader of frames, and remembers what it was asked for."""

    def __init__(self, frames=True):
        self.frames, self.asked = frames, []

    def reader(self, clips, labels, *, lengths=None, names=None, frame_labels=(), seed=0, **settings):
        self.asked.append((len(clips), tuple(labels), frame_labels, seed))
        self.settings = settings
        return FrameReader(tuple(labels), frame_labels if self.frames else ())


class Painter(jobs.Swapper):
    """A model that paints its factors: the paint of s in the first columns of every frame, of d in the others."""

    def sample(self, f, noise=None, steps=None, seed=0, *, lengths=None, progress=iter):
        x = torch.zeros(f.batch, f.frames, 3, jobs.SIZE, jobs.SIZE)
        x[..., :KEPT] = f.static[:, None, None, None]
        x[..., KEPT : KEPT + 2] = f.dynamic[:, :, None, None]
        return x

    def invert(self, x, f, steps=None, *, lengths=None, progress=iter):
        return torch.as_tensor(x)

    def _like(self):
        return torch.zeros(())


class Prior:
    """Draws the paint of any label."""

    def __init__(self, frames=jobs.FRAMES):
        self.sizes = Sizes(static=KEPT, dynamic=2, frames=frames)

    def sample(self, count, seeds, *, steps=None, rule=None):
        drawn = [np.random.default_rng(s).integers(0, list(jobs.CLASSES.values())) / 4 for s in seeds]
        table = torch.tensor(np.array(drawn), dtype=torch.float32)
        return Factors(table[:, :KEPT], table[:, None, KEPT:].repeat(1, jobs.FRAMES, 1))


def run(how="mixed", model=None, shelf=None, **more):
    made = jobs.job(model or Painter(how), shelf or Shelf(), **{"options": {"count": 60}, **more})
    return protocol("multifactor").run(made)


def test_perfect_swaps_keep_and_replace():
    rows = run()
    got = jobs.values(rows)
    assert {got[f"swap_kept_{name}"] for name in LABELS} == {1.0}
    assert {got[f"swap_given_{name}"] for name in LABELS} == {1.0}
    for name in LABELS:
        assert abs(got[f"swap_replaced_{name}"] - 1 / jobs.CLASSES[name]) < 0.2
    perfect = jobs.one(rows, "two_factor_swap", baseline=True, about="perfect")
    assert got["two_factor_swap"] == perfect.values[0] > 0.9
    for name in jobs.STATIC:
        for how in ("", "_with_clip", "_over_time"):
            assert got[f"swap_consistency{how}_{name}"] == 1.0


def test_copies_are_told_from_swaps():
    for how, about in (("static", "x handed back"), ("dynamics", "the partner handed back")):
        got = jobs.values(run(how))
        # The static donor handed back is x where s is kept, and its partner where d is.
        same, other = (jobs.STATIC, jobs.DYNAMIC) if how == "static" else (jobs.DYNAMIC, jobs.STATIC)
        assert {got[f"swap_kept_{name}"] for name in same} == {1.0}
        assert max(got[f"swap_kept_{name}"] for name in other) < 0.75
        baseline = jobs.values(run(how), baseline=True, about=about)
        wanted = 1.0 if about.startswith("x") else got[f"swap_kept_{other[0]}"]
        assert baseline[f"swap_kept_{other[0]}"] == pytest.approx(wanted)
        assert got["two_factor_swap"] < 0.9
        assert baseline["two_factor_swap"] < 0.9


def test_chance_stands_beside_it():
    rows = [r for r in run() if r.baseline and r.about.endswith("chance")]
    got = {r.metric: r.values[0] for r in rows}
    assert got["swap_kept_action"] == got["swap_replaced_action"] == pytest.approx(1 / 3)
    assert got["two_factor_swap"] == pytest.approx(1 - (5 / 2 + 2 / 3) / 6 / 2)
    assert not any(r.judge for r in rows)


def test_without_a_prior_samples_say_why():
    rows = [r for r in run() if r.metric.startswith(("two_factor_sample", "sample_"))]
    assert len(rows) == 1 + 2 * len(LABELS) + 3 * KEPT
    assert all(math.isnan(r.values[0]) and "no prior" in r.reason for r in rows)


def test_samples_of_a_prior_replace_a_factor():
    got = jobs.values(run(prior=Prior()))
    assert {got[f"sample_kept_{name}"] for name in LABELS} == {1.0}
    for name in LABELS:
        assert abs(got[f"sample_replaced_{name}"] - 1 / jobs.CLASSES[name]) < 0.2
    assert got["two_factor_sample"] > 0.9
    assert got["sample_consistency_sex"] == 1.0


def test_a_prior_of_other_lengths_leaves_the_swaps():
    rows = run(prior=Prior(frames=9))
    assert jobs.values(rows)["two_factor_swap"] > 0.9
    row = jobs.one(rows, "two_factor_sample")
    assert math.isnan(row.values[0])
    assert f"draws dynamics of 9 frames, the clips of sprites have {jobs.FRAMES}" in row.reason
    assert "--frames" not in row.reason
    assert jobs.values(rows)["sample_kept_action"] == 1.0  # d kept and s sampled: that can be made


def test_flicker_is_no_consistency():
    class Flickering(Painter):
        def swap(self, x_static, x_dynamic, **rest):
            made = super().swap(x_static, x_dynamic, **rest)
            made[:, 1::2, ..., 0] = 1 / 4 - made[:, 1::2, ..., 0]
            return made

    got = jobs.values(run(model=Flickering("mixed")))
    assert got["swap_consistency_sex"] == 0.5
    assert got["swap_consistency_over_time_sex"] == 0.0
    assert got["swap_consistency_over_time_head"] == 1.0


def test_padding_is_no_frame():
    test = jobs.painted()
    lengths = np.arange(len(test)) % 3 + 2
    short = Clips(test.x, lengths=lengths, labels=test.labels)
    got = jobs.values(run(test=short), baseline=True, about="x handed back")
    assert got["swap_consistency_sex"] == 1.0


def test_a_reader_of_clips_alone_leaves_the_rest():
    rows = run(shelf=Shelf(frames=False))
    row = jobs.one(rows, "swap_consistency_sex")
    assert "does not read sex of single frames" in row.reason
    assert jobs.values(rows)["two_factor_swap"] > 0.9


def test_the_judge_is_trained_once_for_all_seeds():
    shelf = Shelf()
    runs = [run(shelf=shelf, seed=seed) for seed in (0, 1)]
    assert shelf.asked == [(96, LABELS, jobs.STATIC, 0)] * 2
    assert all(len(row.values) == 2 for row in merge(runs))
    assert jobs.values(runs[0]) != jobs.values(runs[1])  # other pairs


def test_settings_reach_the_judge_and_the_pairs():
    shelf = Shelf()
    rows = run(shelf=shelf, options={"judge": {"updates": 7}, "judge_seed": 3, "pairs": 5})
    assert shelf.settings == {"updates": 7}
    assert shelf.asked[0][-1] == 3
    assert {row.count for row in rows} == {5}
    # The very pairs that would be written as a list.
    held = jobs.job(Painter("mixed"), options={"pairs": 5}, pairs=None)
    assert jobs.values(run(options={}, pairs=of_job(held))) == jobs.values(run(options={"pairs": 5}))
    with pytest.raises(InputError, match=r"--set count\) and pairs to draw \(--draw-pairs or --set pairs"):
        run(options={"pairs": 5, "count": 5})


def test_classes_that_no_clip_of_the_fitting_part_has_are_refused():
    clips = jobs.painted()
    with pytest.raises(InputError, match="label action: got 1 values in the test part that no clip of the fitting"):
        run(test=clips, fit=clips.select(clips.labels["action"] != 1))


def test_given_pairs_are_used():
    pairs = np.array([0, 1, 2]), np.array([95, 94, 93])
    rows = run(pairs=pairs)
    assert {row.count for row in rows} == {3}
    alike = {r.metric: r.values[0] for r in rows if r.about.endswith("perfect swaps of these pairs")}
    assert alike["swap_replaced_sex"] == 0.0


def test_labels_that_cannot_be_judged():
    test = jobs.painted()
    path = np.arange(len(test) * 4).reshape(-1, 4) % 3
    more = Clips(test.x, labels={**test.labels, "path": path})
    rows = run(test=more, dynamic=("action", "path"))
    assert "changes within" in jobs.one(rows, "swap_kept_path").reason
    unknown = Clips(test.x, labels={**test.labels, "action": np.full(len(test), -1)})
    for settings, words in (
        ({"dynamic": ()}, "no dynamic one"),
        ({"static": ()}, "no static one"),
        ({"test": more, "dynamic": ("path",)}, "changes within"),
        ({"test": unknown}, "got 0 test clips"),
        ({"static": ("colour",)}, "got 'colour'"),
    ):
        with pytest.raises(InputError, match=words):
            run(**settings)
