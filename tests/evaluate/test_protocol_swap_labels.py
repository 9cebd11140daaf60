"""swap-labels: what perfect swaps and copies come to, the error against true swaps, leaks, and what is refused."""

import dataclasses
import math

import numpy as np
import pytest
from protocol_jobs import CLASSES, DYNAMIC, STATIC, PaintReader, Stand, Swapper, job, one, painted, shapes_job, values

from diffsda.data.clip import Clips
from diffsda.data.synthetic.shapes import swap_target
from diffsda.data.synthetic.tones import tones
from diffsda.errors import InputError
from diffsda.evaluate.judges.shelf import Shelf
from diffsda.evaluate.pairs import both, of_job
from diffsda.evaluate.protocols import swap_labels
from diffsda.evaluate.protocols.truth import Truth
from diffsda.evaluate.result import merge
from diffsda.evaluate.swap_shares import swap_accuracy

THREE = ("static_accuracy", "dynamic_accuracy", "joint_accuracy")
EACH = tuple(f"{name}_accuracy" for name in CLASSES)


def three(rows, **which):
    """Static, dynamic and joint accuracy."""
    found = values(rows, **which)
    return tuple(found[name] for name in THREE)


def scored(how, **more):
    """The rows of a model that swaps perfectly or copies, without probes of its codes."""
    options = {"pairs": 15, "leakage": False, **more.pop("options", {})}
    return swap_labels.run(job(Swapper(how), options=options, **more))


def test_perfect_swaps_are_read_as_both_donors():
    rows = scored("perfect")
    assert three(rows) == (1, 1, 1)
    found = values(rows)
    assert all(found[name] == 1 for name in EACH)
    assert all(found[f"{name}_fresh_noise"] == 1 for name in THREE)
    # Both directions of 15 pairs.
    assert {one(rows, name).count for name in THREE} == {30}
    assert one(rows, "static_accuracy").judge == "paint reader"


@pytest.mark.parametrize(
    ("how", "words", "wanted"), [("static", "static", (1, 0, 0)), ("dynamics", "dynamics", (0, 1, 0))]
)
def test_a_model_that_copies_has_one_half_and_none_of_both(how, words, wanted):
    rows = scored(how)
    assert three(rows) == wanted
    copies = values(rows, baseline=True, about=f"a copy of the {words} donor")
    ours = values(rows)
    assert copies == {metric: ours[metric] for metric in copies}
    assert set(copies) == {*THREE, *EACH, "swap_mse", "swap_psnr"}
    # A label that donors happen to share is right all the same, unless every label must differ.
    strict = scored(how, options={"different": "every"})
    given = dict(zip((*STATIC, *DYNAMIC), [wanted[0]] * 4 + [wanted[1]] * 2, strict=True))
    assert {name: values(strict)[f"{name}_accuracy"] for name in CLASSES} == given


def test_the_judges_ceiling_and_chance():
    rows = scored("perfect")
    assert three(rows, baseline=True, about="ceiling") == (1, 1, 1)
    assert three(rows, baseline=True, about="chance") == pytest.approx((1 / 16, 1 / 6, 1 / 96))
    assert one(rows, "action_accuracy", baseline=True, about="chance").values == (1 / 3,)


def test_shares_are_those_of_the_metric():
    given = job(Swapper("static"), options={"pairs": 15, "leakage": False}, pairs=(np.array([0, 1]), np.array([95, 1])))
    rows = swap_labels.run(given)
    first, second = both(given.pairs)
    labels = given.test.labels
    read = {name: labels[name][first] for name in CLASSES}
    wanted = swap_accuracy(
        {name: read[name] for name in STATIC},
        {name: read[name] for name in DYNAMIC},
        {name: labels[name][first] for name in STATIC},
        {name: labels[name][second] for name in DYNAMIC},
    )
    assert three(rows) == wanted == (1, 0.5, 0.5)


def test_true_swaps_of_sprites_are_other_clips_of_the_split():
    rows = scored("perfect")
    assert one(rows, "swap_mse").values == (0.0,)
    assert "no difference at all" in one(rows, "swap_psnr").reason
    copied = scored("dynamics")
    given = job(Swapper("perfect"), options={"pairs": 15})
    first, second = both(of_job(given))
    x = given.test.x.astype(float)
    wanted = x[second].copy()
    wanted[..., :4] = x[first][..., :4]
    error = np.mean(((wanted - x[second]) / 2) ** 2)
    assert one(copied, "swap_mse").values[0] == pytest.approx(error, rel=1e-6)
    assert one(copied, "swap_psnr").values[0] == pytest.approx(-10 * math.log10(error), rel=1e-6)
    assert one(copied, "swap_mse", baseline=True, about="static donor").values[0] > 0


def test_latents_have_errors_in_their_own_units():
    model = Swapper("dynamics")
    model.recipe = model.recipe.replace(clips={"latent": True})
    rows = swap_labels.run(job(model, options={"pairs": 15, "leakage": False}))
    assert one(rows, "swap_mse").unit == "values, squared"
    assert one(rows, "swap_mse").values[0] == pytest.approx(4 * one(scored("dynamics"), "swap_mse").values[0])
    assert not [row for row in rows if row.metric.startswith("swap_psnr")]


def test_part_of_a_split_of_sprites_does_not_hold_all_swaps():
    few = painted().select([0, 95, *range(40, 50)])
    rows = scored("perfect", test=few, fit=painted(), pairs=(np.array([0]), np.array([1])))
    assert three(rows) == (1, 1, 1)
    assert "holds no clip of its labels" in one(rows, "swap_mse").reason
    # The rows are there all the same: seeds may draw other pairs, and all must have the same rows.
    assert [r.metric for r in rows] == [r.metric for r in scored("perfect")]


def test_clips_without_a_true_swap_say_so():
    rows = scored("perfect", test=painted("mug", wrong=("legs",)), static=("sex", "head"))
    assert "does not say what swaps should look like" in one(rows, "swap_mse").reason
    assert three(rows) == (1, 1, 1)


def test_true_swaps_of_moving_shapes_are_drawn():
    given = shapes_job()
    pairs = both(of_job(given))
    truth = Truth(given, pairs)
    first, second = (given.test.select(part) for part in pairs)
    np.testing.assert_array_equal(truth.part(slice(1, 3)), swap_target(first, second)[1:3])
    latent = shapes_job()
    latent.model.recipe = latent.model.recipe.replace(clips={"latent": True})
    with pytest.raises(InputError, match="sees clips as they are"):
        Truth(latent, pairs)


def test_a_role_without_labels_leaves_its_rows_open():
    rows = scored("perfect", dynamic=())
    assert one(rows, "static_accuracy").values == (1.0,)
    for metric in THREE[1:]:
        assert math.isnan(one(rows, metric).values[0])
        assert one(rows, metric).reason == "sprites has no dynamic labels"
    with pytest.raises(InputError, match=r"no static labels.*name one"):
        scored("perfect", static=(), dynamic=())


def test_labels_that_change_within_a_clip_are_left_out_with_a_reason():
    clips = tones(24, frames=6, seed=0)

    class Timbre:
        name, version, substitute = "oracle", "1", False

        def __init__(self):
            self.factors = {"timbre": tuple("abcdef"), "pitch": tuple("abcdef")}

        def read(self, x, lengths=None):
            return {name: np.eye(6)[np.zeros(len(x), int)] for name in self.factors}

    given = job(
        Swapper("static"),
        Stand(reader=lambda names: Timbre()),
        test=clips,
        static=("timbre", "pitch"),
        dynamic=("note",),
        options={"pairs": 5, "leakage": False},
    )
    rows = swap_labels.run(given)
    assert "label note: changes within" in one(rows, "dynamic_accuracy").reason
    # Vectors have errors in their own units and no ratio.
    assert one(rows, "swap_mse").unit == "values, squared"
    assert one(rows, "swap_mse", baseline=True, about="static").values == one(rows, "swap_mse").values
    assert not [row for row in rows if row.metric.startswith("swap_psnr")]


def test_no_pair_is_an_error():
    nobody = painted().select(painted().labels["action"] == 0)
    still = {"action": np.zeros(len(nobody), int), "direction": np.zeros(len(nobody), int)}
    clips = Clips(nobody.x, labels={**nobody.labels, **still}, name="sprites")
    with pytest.raises(InputError, match="no two differ in sex/head/chest/legs and in action/direction"):
        scored("perfect", test=clips)
    with pytest.raises(InputError, match="no pair"):
        scored("perfect", pairs=(np.zeros(0, int), np.zeros(0, int)))


def test_a_clip_in_a_pair_whose_label_is_not_known_is_refused():
    clips = painted()
    labels = {**clips.labels, "head": np.where(np.arange(96) == 5, -1, clips.labels["head"])}
    unknown = Clips(clips.x, labels=labels, name="mug")
    with pytest.raises(InputError, match="label head: is unknown of clip 5"):
        scored("perfect", test=unknown, fit=clips, pairs=(np.array([5]), np.array([90])))
    assert three(scored("perfect", test=unknown, fit=clips)) == (1, 1, 1)


def test_readers_of_other_classes_are_refused():
    with pytest.raises(InputError, match="reads 1 classes of sex; expected 2"):
        scored("perfect", shelf=Stand(fewer=1))


def test_the_noise_of_x_in_both_swaps_means_nothing_here():
    shelf = Stand()
    with pytest.raises(InputError, match="noises: got 'reference', expected some of dynamic, static, fresh, shared"):
        scored("perfect", options={"noises": ["reference"]}, shelf=shelf)
    assert not shelf.fits


def test_classes_with_other_names_are_refused():
    names = dict.fromkeys(CLASSES, "abc")
    fit = dataclasses.replace(painted(), label_names=names)
    test = dataclasses.replace(painted(), label_names={**names, "action": "cab"})
    with pytest.raises(InputError, match="label action: class 0 is a in sprites, which is fitted on, and c in"):
        scored("perfect", fit=fit, test=test)
    assert three(scored("perfect", fit=fit, test=test, dynamic=("direction",))) == (1, 1, 1)


def test_readers_see_pictures_in_range():
    class Watching(PaintReader):
        def read(self, clips, lengths=None):
            shown.append((clips.min(), clips.max()))
            return {name: np.eye(3)[np.zeros(len(clips), int)] for name in self.factors}

    class Loud(Swapper):
        def swap(self, *given, **options):
            return 9 * super().swap(*given, **options) - 4

    shown, shelf = [], Stand(reader=Watching)
    given = job(Loud("perfect"), shelf, options={"pairs": 5, "leakage": False})
    # Real clips go beyond the range too: a first stage's do.
    swap_labels.run(dataclasses.replace(given, back=lambda x, lengths: 2 * np.asarray(x)))
    assert (min(low for low, _ in shown), max(high for _, high in shown)) == (-1, 1)
    assert np.abs(shelf.fits[0][0]).max() == 1


def test_codes_are_probed_both_ways():
    rows = swap_labels.run(job(Swapper("perfect"), static=("sex",), dynamic=("action",), options={"pairs": 5}))
    found = values(rows)
    # Painted codes hold their own labels and none of the other factor's; all combinations are there, so nothing is
    # to be guessed either.
    assert found["sex_from_s"] == found["action_from_mean"] == found["action_from_frames"] == 1
    guess = one(rows, "leakage", baseline=True).values[0]
    assert guess == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert abs(found["leakage"] - guess) < 0.15
    assert found["leakage"] == pytest.approx((found["action_from_s"] + found["sex_from_mean"]) / 2)
    assert found["leakage_frames"] == pytest.approx((found["action_from_s"] + found["sex_from_frames"]) / 2)
    assert abs(found["leakage_normalised"]) < 0.3
    assert one(rows, "sex_from_mean").better == "lower"
    assert one(rows, "sex_from_s").better == "higher"


def test_without_one_role_leakage_is_open():
    rows = swap_labels.run(job(Swapper("perfect"), static=("sex",), dynamic=(), options={"pairs": 5}))
    for metric in ("leakage", "leakage_normalised"):
        assert one(rows, metric).reason == "sprites has no dynamic labels"
    assert values(rows)["sex_from_s"] == 1


def test_a_reader_of_the_shelf_learns_the_labels(tmp_path):
    settings = {"updates": 40, "channels": 4, "features": 16, "hidden": 16, "noise": 0.0, "blur": 0.0, "shift": 0.0}
    rows = scored(
        "perfect", shelf=Shelf(cache=tmp_path), static=("sex",), dynamic=("direction",), options={"judge": settings}
    )
    ceiling = three(rows, baseline=True, about="ceiling")
    assert min(ceiling[:2]) > 0.9
    # Perfect swaps are clips of the set: what is read of them is about what is read of those.
    assert min(three(rows)[:2]) > 0.8
    assert one(rows, "joint_accuracy").substitute
    assert list(tmp_path.rglob("*.safetensors"))


def test_a_real_model_on_moving_shapes_end_to_end():
    rows = swap_labels.run(shapes_job(static=("colour",), options={"pairs": 2, "noises": ()}))
    for metric in (*THREE, "path_accuracy", "swap_mse", "swap_psnr", "leakage"):
        assert math.isfinite(one(rows, metric).values[0])
    joint, static, dynamic = (one(rows, name).values[0] for name in (THREE[2], *THREE[:2]))
    assert joint <= min(static, dynamic)
    other = swap_labels.run(
        shapes_job(seed=1, static=("colour",), options={"pairs": 2, "leakage": False, "noises": ()})
    )
    assert len(merge([other, other])) < len(rows)
    assert one(other, "swap_mse").values != one(rows, "swap_mse").values
