"""The table of a comparison, from its stored JSON: what is bold, what is relative, what stands below."""

import dataclasses
import json

import pytest
from made_comparisons import comparison, joint, row, scored

from diffsda.compare.columns import COLUMNS, row_of
from diffsda.compare.record import Comparison
from diffsda.compare.table import best, caption, document, table
from diffsda.errors import InputError
from diffsda.evaluate.result import NAN


def cells(held, name, column):
    """Return the cell of a system's line under a column's head."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(held).splitlines()]
    place = next(i for i, head in enumerate(lines[0]) if head.startswith(column))
    return next(line[place] for line in lines if line[0] == name)


def test_the_table_is_the_same_from_the_stored_json(tmp_path):
    held = comparison(scored("a", joint(0.5, 0.6)), scored("b", joint(0.1, 0.2)))
    path = held.write(tmp_path / "compare.json")
    again = Comparison.read(path)
    assert again == held
    assert document(again) == document(held)


def test_only_an_interval_apart_from_all_others_is_bold():
    apart = [joint(0.80, 0.81), joint(0.30, 0.31), joint(0.20, 0.21)]
    held = comparison(*(scored(name, one) for name, one in zip("abc", apart, strict=True)))
    assert cells(held, "a", "joint").startswith("**0.8050 \u00b1 0.06")
    assert "**" not in cells(held, "b", "joint")
    near = comparison(scored("a", joint(0.80, 0.81)), scored("b", joint(0.30, 0.31)), scored("c", joint(0.5, 0.9)))
    assert "**" not in table(near)
    alone = comparison(*(scored(name, joint(one), models=[{}]) for name, one in (("a", 0.9), ("b", 0.1))))
    assert "**" not in table(alone)
    assert "nothing is bold" in caption(alone)


def test_seeds_of_one_model_make_nothing_bold():
    """What one model scores with other pairs says nothing of another training of the same system."""
    values = (0.80, 0.801, 0.802), (0.70, 0.701, 0.702)
    one, other = ([row("joint_accuracy", held, models=1)] for held in values)
    held = comparison(*(scored(name, {"swap-labels": rows}, models=[{}]) for name, rows in (("a", one), ("b", other))))
    assert held.systems[0].rows["swap-labels"][0].over == "seeds"
    assert "**" not in table(held)
    assert "nothing is bold" in caption(held)
    three = [row("joint_accuracy", (0.70, 0.71, 0.69), models=3)]
    mixed = comparison(
        scored("a", {"swap-labels": one}, models=[{}]), scored("b", {"swap-labels": three}, models=[{}] * 3)
    )
    assert "**" not in table(mixed)
    assert "1 of a, 3 of b models" in caption(mixed)
    assert "beside it nothing is bold" in caption(mixed)


def test_models_that_agree_are_apart_from_others_they_do_not_meet():
    perfect = scored("a", joint(1.0, 1.0))
    assert cells(comparison(perfect, scored("b", joint(0.70, 0.71))), "a", "joint") == "**1.0000**"
    assert "**" not in table(comparison(perfect, scored("b", joint(0.5, 1.0))))
    assert "**" not in table(comparison(perfect, scored("b", joint(1.0, 1.0))))


def test_a_system_without_a_model_is_a_row_of_dashes_with_the_reason():
    gone = scored(
        "gone", {}, "diffsda", models=[], swap_seconds={}, policy="", failed=["training failed: the loss"] * 2
    )
    held = comparison(gone, scored("a", joint(0.5, 0.6)), scored("b", joint(0.1, 0.2)))
    dash = "\u2013"
    line = next(line for line in table(held).splitlines() if line.startswith("| gone |"))
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["gone", dash, "1,234", dash, dash, dash]
    assert document(held).count("- gone: training failed: the loss") == 1
    assert "ratio to a" in caption(held)
    assert "Loaded" not in caption(held)


def test_judges_that_differ_are_told_of():
    systems = scored("a", joint(0.5, 0.6)), scored("b", joint(0.1, 0.2))
    assert "by the same judges" in caption(comparison(*systems, judges={"a": "1", "b": "1"}))
    other = caption(comparison(*systems, judges={"a": "1", "b": "2"}))
    assert "by the same judges" not in other
    assert "Judges are not quite the same" in other


def test_lower_is_better_where_it_is():
    rows = [row("eer_static", values, "lower") for values in ((0.30, 0.31), (0.10, 0.11))]
    assert best(rows) == 1
    assert best([rows[0], None]) is None
    assert best([*rows, row("eer_static", (NAN, NAN), "lower", reason="one speaker")]) == 1


def test_swaps_are_timed_beside_diffsdas():
    held = comparison(
        scored("vae", joint(0.1, 0.2), swap_seconds={"fresh": 0.005}, policy="fresh"),
        scored("demo", joint(0.1, 0.2), "diffsda", swap_seconds={"dynamic": 0.02, "fresh": 0.01}),
    )
    assert (cells(held, "demo", "relative"), cells(held, "vae", "relative")) == ("1.0", "0.25")
    assert "ratio to demo" in caption(held)


def test_other_start_noises_stand_below_and_baselines_last():
    rows = joint(0.5, 0.6)["swap-labels"]
    rows += [dataclasses.replace(row("joint_accuracy_fresh_noise", (0.25, 0.25)), about="both at once; fresh")]
    rows += [dataclasses.replace(row("joint_accuracy", (0.125, 0.125)), baseline=True, about="both at once; chance")]
    held = comparison(scored("a", {"swap-labels": rows}, swap_seconds={"dynamic": 0.02, "fresh": 0.01}))
    lines = [line.split("|")[1].strip() for line in table(held).splitlines()[2:]]
    assert lines == ["a", "a, fresh start noise", "*chance*"]
    assert cells(held, "a, fresh start noise", "joint") == "0.2500"
    assert cells(held, "a, fresh start noise", "relative") == "0.5"
    assert cells(held, "*chance*", "joint") == "0.1250"


def test_leakage_is_the_mean_over_labels_of_what_should_not_be_told():
    told = [
        row("who_from_frames", (0.2, 0.4), "lower"),
        row("where_from_frames", (0.6, 0.6), "lower"),
        row("what_from_frames", (0.9, 0.9), "higher"),
        row("who_from_s", (0.9, 0.9), "higher"),
        row("what_from_s", (0.3, 0.5), "lower"),
        *(row(f"{name}_told", (0.25, 0.25), "neither", baseline=True) for name in ("who", "what")),
    ]
    rows = {"swap-labels": told}
    by_name = {column.metric: column for column in COLUMNS}
    assert row_of(rows, by_name["static_from_d"]).values == pytest.approx((0.4, 0.5))
    assert row_of(rows, by_name["dynamic_from_s"]).values == pytest.approx((0.3, 0.5))
    held = comparison(scored("a", rows))
    assert cells(held, "*the commonest class*", "static labels told") == "0.2500"


def test_what_is_not_defined_is_said_once_with_its_reason():
    held = comparison(
        scored("a", {"swap-labels": [row("joint_accuracy", (NAN, NAN), reason="no dynamic labels")]}),
        scored("b", {"swap-labels": [row("joint_accuracy", (NAN, NAN), reason="no dynamic labels")]}),
    )
    text = document(held)
    assert "joint swap accuracy \u2191" not in text
    assert text.count("- not defined here: joint swap accuracy (no dynamic labels)") == 1


def test_trials_are_listed_with_the_choice():
    tried = [
        {"overrides": {"optim": {"lr": 0.001}}, "score": 0.25, "reason": ""},
        {"overrides": {}, "score": None, "reason": "training failed"},
    ]
    tuning = {"trials": 2, "words": "joint swap accuracy", "clips": 9, "part": "the training part, held out"}
    text = document(comparison(scored("a", joint(0.5, 0.6), trials=tried, chosen=0), tuning=tuning))
    assert "2 trials a system" in text
    assert "| a | optim.lr = 0.001 | 0.2500 | chosen |" in text
    assert "| a | as it is | \u2013 (training failed) |  |" in text


def test_what_was_loaded_is_said_to_be():
    trained, loaded = scored("a", joint(0.5, 0.6)), scored("b", joint(0.5, 0.6), models=[{"seconds": None}] * 2)
    held = comparison(trained, loaded)
    assert "Loaded as they were, whatever their budget and clips: b." in caption(held)
    assert "Loaded" not in caption(comparison(trained))
    assert (cells(held, "a", "training"), cells(held, "b", "training")) == ("30", "\u2013")


def test_first_is_who_is_alone_at_the_top():
    held = comparison(scored("a", joint(0.5, 0.6)), scored("b", joint(0.6, 0.7)))
    assert held.first("joint_accuracy") == "b"
    assert held.first("eer_gap") is None
    assert comparison(scored("a", joint(0.5)), scored("b", joint(0.5))).first("joint_accuracy") == ""
    assert comparison(scored("a", joint(0.5))).first("joint_accuracy") is None
    errors = [{"eer": [row("eer_static", (value,), "lower")]} for value in (0.1, 0.3)]
    assert comparison(scored("a", errors[0]), scored("b", errors[1])).first("eer_static") == "a"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "is no comparison of format 1"),
        ('{"format": 2}', "is no comparison of format 1"),
        ('{"format": 1, "systems": []}', "is not usable"),
        ('{"format": 1, "systems": [{"name": "a", "rows": {"eer": [{}]}}]}', "row: is not usable"),
    ],
)
def test_a_broken_record_is_refused_in_one_line(tmp_path, text, words):
    (tmp_path / "compare.json").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        Comparison.read(tmp_path / "compare.json")
    assert "\n" not in str(caught.value)


def test_systems_have_names_of_their_own(tmp_path):
    path = comparison(scored("a", joint(0.5)), scored("b", joint(0.5))).write(tmp_path / "compare.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"systems": []}))
    with pytest.raises(InputError, match="expected some of different names"):
        Comparison.read(path)
