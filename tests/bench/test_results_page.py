"""The page of results: what stored results and their goals become, and what is refused in one line."""

import json
import math

import pytest
from made_comparisons import comparison, scored

from diffsda.bench import results
from diffsda.errors import InputError, SaveError
from diffsda.evaluate.record import Result
from diffsda.evaluate.result import NAN, Row


def row(metric, *values, **others):
    return Row(**{"metric": metric, "values": values, "unit": "share", "better": "higher", **others})


def result(protocol, *rows, **others):
    given = {"protocol": protocol, "tables": "4", "about": f"what {protocol} measures", "data": "made", "seeds": (0, 1)}
    return Result(**{**given, "rows": list(rows), **others})


def goal(metric, bound, higher=True, **others):
    return {"protocol": "eer", "metric": metric, "words": f"the {metric}", "goal": bound, "higher": higher, **others}


def store(folder, about, **held):
    """Write a set: its about.json and results by name."""
    folder.mkdir(parents=True)
    (folder / "about.json").write_text(json.dumps({"title": "T", "words": [], "commands": [], **about}))
    for name, one in held.items():
        one.write(folder / f"{name}.json")


@pytest.fixture
def sets(tmp_path):
    """Two sets: one of speakers with goals of every kind, one that shows few of its rows and comes first."""
    folder = tmp_path / "results"
    goals = [
        goal("eer_dynamic", 0.4),
        goal("eer_static", 0.1, higher=False),
        goal("eer_gap", 0.1),
        goal("eer_other", 0.5),
        goal("accuracy", 0.5, protocol="classification"),
    ]
    rows = [
        row("eer_dynamic", 0.99, 0.99, baseline=True, about="a baseline"),
        row("eer_dynamic", 0.44, 0.46),
        row("eer_static", 0.12, 0.14),
        row("eer_gap", NAN, NAN, reason="one speaker only"),
        row("accuracy", 1.0, 1.0),
    ]
    eer = result("eer", *rows, provenance={"models": [{}, {}, {}]})
    words = {"title": "Speakers", "words": ["Nine of them."], "commands": ["diffsda prepare speech"], "goals": goals}
    store(folder / "speakers", {**words, "order": 2, "trained": {"steps": 7}, "notes": ["One note."]}, eer=eer)
    both = [row("joint_accuracy", 0.75, 0.75), row("leakage", 0.125, 0.125)]
    about = {"title": "Sprites", "order": 1, "show": {"swaps": ["leakage"]}, "captions": {"swaps": "the action alone"}}
    store(folder / "sprites", about, swaps=result("swap-labels", *both), again=result("swap-labels", *both))
    return folder


def line(text, words):
    (found,) = [one for one in text.splitlines() if words in one]
    return found


def test_goals_are_held_against_the_models_rows(sets):
    text = results.page(sets)
    assert line(text, "the eer_dynamic") == "| the eer_dynamic | \u2265 0.4000 | 0.4500 | met |"
    assert line(text, "the eer_static") == "| the eer_static | \u2264 0.1000 | 0.1300 | **missed** |"
    assert line(text, "the eer_gap") == "| the eer_gap | \u2265 0.1000 | \u2013 | **missed** |"
    assert line(text, "the eer_other") == "| the eer_other | \u2265 0.5000 | not measured | |"
    # A row of that name is there, of another protocol.
    assert line(text, "the accuracy") == "| the accuracy | \u2265 0.5000 | not measured | |"


def test_a_goal_that_is_just_reached_is_met_and_nan_never_is():
    for higher in (True, False):
        exact = results.Goal(**goal("a", 0.5, higher))
        assert exact.met(row("a", 0.5))
        assert not exact.met(row("a", NAN, reason="why"))
        assert exact.met(row("a", 0.75)) == higher


def test_sets_come_in_their_order_with_all_that_is_said_of_them(sets):
    text = results.page(sets)
    titles = [one for one in text.splitlines() if one.startswith("#")]
    assert titles == ["# Results on real data", "## Sprites", "### again", "### swaps", "## Speakers", "### eer"]
    assert "\nNine of them.\n\n```sh\ndiffsda prepare speech\n```\n" in text
    assert "| steps | 7 |" in text
    assert text.rstrip().endswith("One note.")
    assert "What eer measures. Seeds 0, 1, 3 models.\n" in text
    table = text.split("### eer")[1]
    assert "a baseline (eer_dynamic)" in line(table, "*baseline")
    assert "\u2013 (1)" in line(table, "eer_gap")
    assert "\n(1) one speaker only\n" in table


def test_show_leaves_rows_out_and_says_where_they_are(sets):
    text = results.page(sets)
    again, swaps = text.split("### again")[1].split("### swaps")
    swaps = swaps.split("## Speakers")[0]
    assert "joint_accuracy" in again
    assert "The rest is in" not in again
    assert "joint_accuracy" not in swaps
    assert "leakage" in swaps
    assert "The action alone. Seeds 0, 1. The rest is in `sprites/swaps.json`." in swaps


def test_a_goal_that_two_results_could_answer_names_one(tmp_path):
    held = {
        "swaps": result("eer", row("joint", 0.9)),
        "swaps-and-more": result("eer", row("joint", 0.1)),
        "third": result("eer", row("another", 0.1)),
    }
    store(tmp_path / "unnamed" / "a", {"goals": [goal("joint", 0.5)]}, **held)
    with pytest.raises(InputError, match=r"about.json: goal joint: swaps-and-more, swaps have such a row"):
        results.page(tmp_path / "unnamed")
    store(tmp_path / "named" / "a", {"goals": [goal("joint", 0.5, result="swaps")]}, **held)
    assert line(results.page(tmp_path / "named"), "the joint").endswith("| 0.9000 | met |")


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "got list, expected a table"),
        ('{"title": "T", "words": []}', "commands: got None, expected a list of lines"),
        ('{"title": "T", "words": "a line", "commands": []}', "words: got 'a line', expected a list of lines"),
        ({"order": "first"}, "order: got 'first', expected a whole number"),
        ({"show": ["eer"]}, r"show: got \['eer'\], expected metrics by result"),
        ({"trained": [1]}, "trained: got"),
        ({"goals": [goal("a", "high")]}, "goals that are not usable.*could not convert"),
        ({"goals": [{"metric": "a"}]}, "goals that are not usable.*KeyError"),
        ({"goals": [goal("a", 1, better="lower")]}, "goals that are not usable.*better"),
        ({"goals": ["eer"]}, "goals that are not usable"),
    ],
)
def test_an_about_that_is_broken_is_named(tmp_path, about, words):
    text = about if isinstance(about, str) else json.dumps({"title": "T", "words": [], "commands": [], **about})
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "about.json").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        results.page(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "made" / "about.json"))
    assert "\n" not in str(caught.value)


def test_the_command_writes_the_page_or_leaves_it(sets, monkeypatch, capsys):
    target = sets.parent / "results.md"
    monkeypatch.setattr(results, "records_folder", lambda: sets.parent)
    assert results.main([str(target)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert target.read_text() == results.page(sets)
    (sets / "speakers" / "eer.json").write_text("[]")
    assert results.main([str(target)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("results: error: ")
    assert "speakers/eer.json: is no result" in said.err
    assert said.err.count("\n") == 1
    assert target.read_text().count("## Speakers") == 1


def test_the_command_says_what_is_wrong_with_how_it_is_called(sets, monkeypatch, capsys):
    for words in ([], ["a.md", "b.md"]):
        assert results.main(words) == 2
        assert capsys.readouterr().err == "usage: python -m diffsda.bench.results FILE.md\n"
    monkeypatch.setattr(results, "records_folder", lambda: sets.parent)
    assert results.main([str(sets / "nowhere" / "results.md")]) == 2
    assert "make it first" in capsys.readouterr().err
    monkeypatch.setattr(results, "records_folder", lambda: sets.parent / "gone")
    assert results.main([str(sets.parent / "results.md")]) == 2
    said = capsys.readouterr().err
    assert "gone/results: holds no set with an about.json" in said
    assert said.count("\n") == 1
    assert not (sets.parent / "results.md").exists()


def test_a_page_that_cannot_be_saved_is_an_error_in_one_line(sets, monkeypatch, capsys):
    monkeypatch.setattr(results, "records_folder", lambda: sets.parent)

    def full(path, fill):
        raise SaveError(f"{path}: no space left")

    monkeypatch.setattr(results, "atomic_write", full)
    assert results.main([str(sets.parent / "results.md")]) == SaveError.exit_code == 1
    assert capsys.readouterr().err.endswith("no space left\n")


def test_a_bad_row_in_a_result_is_named(sets):
    path = sets / "speakers" / "eer.json"
    plain = json.loads(path.read_text())
    plain["rows"][1]["values"][0] = math.inf
    path.write_text(json.dumps(plain))
    with pytest.raises(InputError, match=r"speakers/eer\.json: row"):
        results.page(sets)


def compared(folder, name, *systems, **about):
    """Store a comparison of systems: name, system, joint accuracies and gaps."""
    held = []
    for one, system, joint, gap in systems:
        rows = {"swap-labels": [row("joint_accuracy", *joint, models=len(joint))]} if joint else {}
        held.append(scored(one, {**rows, "eer": [row("eer_gap", *gap, models=len(gap))]}, system))
    store(folder / name, {"title": name, "commands": [f"diffsda compare {name}"], **about})
    comparison(*held, data=name).write(folder / name / "compare.json")


def test_comparisons_come_last_and_their_goal_is_computed(sets):
    folder = sets.parent / "compare"
    assert results.page(sets, folder) == results.page(sets)
    ours, others = ("demo", "diffsda"), ("dbse", "dbse-audio")
    compared(folder, "Vowels", (*ours, None, (0.3, 0.4)), (*others, None, (0.1, 0.2)), order=1)
    compared(folder, "Sprites", (*ours, (0.8, 0.9), (0.3, 0.4)), (*others, (0.1, 0.2), (0.4, 0.5)), order=2)
    text = results.page(sets, folder)
    assert text.startswith(results.page(sets))
    assert line(text, "| Vowels |") == "| Vowels | not defined | demo |"
    assert line(text, "| Sprites |") == "| Sprites | demo | dbse |"
    assert ": 1 of 2, **missed**." in text
    assert "```sh\ndiffsda compare Sprites\n```" in text
    assert "| dbse | 0.1500 \u00b1" in text.split("### Sprites")[1]
    compared(folder, "Speech", (*ours, None, (0.3, 0.4)), (*others, None, (0.1, 0.2)))
    assert ": 2 of 3, met." in results.page(sets, folder)


def test_a_shared_first_place_is_none(sets):
    folder = sets.parent / "compare"
    compared(folder, "Vowels", ("demo", "diffsda", None, (0.25, 0.25)), ("dbse", "dbse-audio", None, (0.25, 0.25)))
    assert line(results.page(sets, folder), "| Vowels |") == "| Vowels | not defined | shared |"
    assert ": 0 of 1, **missed**." in results.page(sets, folder)


def test_a_comparison_without_its_record_is_an_error(sets):
    folder = sets.parent / "compare"
    store(folder / "vowels", {})
    with pytest.raises(InputError, match=r"compare\.json: cannot be read"):
        results.page(sets, folder)
