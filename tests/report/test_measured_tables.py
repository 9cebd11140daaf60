"""Results as tables: whose row is whose, and nothing looks like a number that is none."""

import dataclasses

import pytest

from diffsda.evaluate.record import Result
from diffsda.evaluate.result import NAN, Row
from diffsda.report.measured import result_sections
from diffsda.report.page import page
from diffsda.report.sections import Details, Table, Tagged, Text

PAPER = {"table": "2", "data": "mug", "system": "DBSE", "metric": "aed", "value": 0.773, "spread": None}


def result(**changes):
    """Return a result with rows of every kind."""
    rows = [
        Row(metric="aed", values=(0.5,), unit="", better="lower", baseline=True, about="copies", judge="small"),
        Row(
            metric="aed",
            values=(0.2, 0.3, 0.25),
            unit="",
            better="lower",
            about="distance of faces",
            count=1200,
            missed=0.034,
            judge="small",
            substitute=True,
        ),
        Row(metric="akd", values=(NAN, 1.0, 1.0), unit="pixels", better="lower", reason="no face was found"),
    ]
    settings = {
        "protocol": "swap-video",
        "tables": "Tables 2, 17",
        "about": "faces",
        "data": "shapes",
        "rows": rows,
        "seeds": (0, 1, 2),
        "published": [PAPER, {**PAPER, "metric": "fvd", "value": 3.0, "spread": 0.5}],
        "judges": [{"name": "small", "substitute": True}],
        "provenance": {"models": [{"recipe": "abc", "step": 5}], "seconds": 3.5},
    }
    return Result(**{**settings, **changes})


def table(**changes):
    """Return the table of such a result."""
    return next(s for s in result_sections([result(**changes)], "abc", 5) if isinstance(s, Table))


def words(cell):
    """Return what a cell says, without its marks."""
    return cell.words if isinstance(cell, Tagged) else cell


def test_rows_of_a_metric_stand_together_with_the_model_first_and_the_paper_last():
    found = table()
    assert [words(row[0]) for row in found.rows] == [
        "distance of faces \u2193",
        "copies \u2193",
        "aed on mug",
        "akd, pixels \u2193",
        "fvd on mug",
    ]
    assert found.tones == ("", "baseline", "published", "", "published")
    assert found.columns == ("quantity", "value", "95 % interval", "missed", "over", "judge")
    ours = found.rows[0]
    assert words(ours[1]) == "0.2500"
    assert ours[2] == "0.1258 to 0.3742"  # Student's t with 2 degrees: 4.303 * 0.05 / sqrt(3)
    assert ours[3:5] == ("3.4%", "1,200")


def test_the_caption_names_tables_once_and_what_goes_for_all_rows():
    assert table().caption == "swap-video: faces (Tables 2, 17), on shapes; mean over seeds 0, 1, 2"
    held = [dataclasses.replace(row, notes=("cut to 7 frames", row.metric)) for row in result().rows]
    found = table(rows=held)
    assert found.caption.endswith("seeds 0, 1, 2; cut to 7 frames")
    assert found.rows[0][1] == Tagged("0.2500", "", "aed")
    assert found.rows[3][1] == Tagged("\u2013", "undefined", "no face was found; akd")


def test_baselines_substitutes_and_papers_are_marked():
    found = table()
    assert found.rows[0][5] == Tagged("small", "substitute")
    assert found.rows[1][0].tag == "baseline"
    assert found.rows[1][5] == "small"
    assert found.rows[2] == (
        Tagged("aed on mug", "paper, other clips"),
        Tagged("", "", "DBSE 0.7730"),
        *("", "", ""),
        "Table 2",
    )
    assert found.rows[4][1] == Tagged("", "", "DBSE 3.0000 \u00b1 0.5000")
    html = page("t", [found])
    assert '<tr class="baseline">' in html
    assert html.count('<span class="tag">baseline</span>') == 1
    assert html.count('<span class="tag">substitute</span>') == 1


def test_papers_on_these_clips_have_a_row_a_system_and_on_others_a_row_a_set():
    papers = [{**PAPER, "system": system, "data": data} for data in ("mug", "taichi") for system in ("SPYL", "DBSE")]
    rows = table(data="mug", published=papers).rows
    assert rows[2] == (Tagged("SPYL: aed", "paper"), "0.7730", "", "", "", "Table 2")
    assert rows[3][0] == Tagged("DBSE: aed", "paper")
    assert rows[4][:2] == (Tagged("aed on taichi", "paper, other clips"), Tagged("", "", "SPYL 0.7730; DBSE 0.7730"))


def test_what_is_undefined_says_why_and_shows_no_number():
    value = table().rows[3][1]
    assert value == Tagged("\u2013", "undefined", "no face was found")
    html = page("t", [table()])
    assert "nan" not in html.lower()
    assert "no face was found" in html


def test_columns_that_nobody_fills_are_left_out():
    row = Row(metric="mse", values=(0.5,), unit="", better="neither")
    found = table(rows=[row], published=[], seeds=(0,))
    assert found.columns == ("quantity", "value")
    assert found.rows == ((Tagged("mse", "", ""), Tagged("0.5000", "", "")),)


@pytest.mark.parametrize(("recipe", "step", "told"), [("abc", 5, False), ("abc", 6, True), ("xyz", 5, True)])
def test_results_of_other_weights_are_told(recipe, step, told):
    sections = result_sections([result()], recipe, step)
    said = [s.body for s in sections if isinstance(s, Text) and "other weights" in s.body]
    assert bool(said) is told
    assert not told or "recipe abc, step 5" in said[0]


def test_judges_and_settings_are_folded_away_and_no_result_is_no_heading():
    sections = result_sections([result()], "abc", 5)
    folded = next(s for s in sections if isinstance(s, Details))
    assert folded.sections[0].rows[0] == ("judge", Tagged("name small", "substitute"))
    assert ("seconds", "3.5") in folded.sections[0].rows
    assert result_sections([], "abc") == []
