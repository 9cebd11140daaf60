"""docs/compare.md says what is so: its commands, its grid, the criteria and the factors of the learning rate."""

import json
import re
import shlex
from pathlib import Path

import pytest

from diffsda.cli import VERBS
from diffsda.cli.compare import Options
from diffsda.cli.options import parse
from diffsda.compare.entries import entries
from diffsda.compare.trials import CRITERIA, RATES, grids

TEXT = (Path(__file__).parents[2] / "docs" / "compare.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line)[1:] for line in re.search(r"```sh\n(.*?)```", TEXT, re.DOTALL)[1].splitlines()]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_its_commands_are_understood(words):
    verb, *rest = words
    assert verb in VERBS
    options = parse(Options, rest, verb, "")
    assert entries([word for word in options.recipes if "/" not in word])


def test_its_grid_is_one(tmp_path):
    plain = json.loads(re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)[1])
    (tmp_path / "grid.json").write_text(json.dumps(plain))
    held = grids(entries(["demo", "divid-vowels"]), 2, tmp_path / "grid.json")
    assert held == {"demo": plain["demo"], "divid-vowels": plain["divid"]}


def test_what_it_names_is_there():
    assert all(f"`{name}`" in TEXT for name in CRITERIA)
    assert RATES == (1, 1 / 2, 2, 1 / 4, 4)
    assert "1, 1/2, 2, 1/4 and 4" in TEXT
