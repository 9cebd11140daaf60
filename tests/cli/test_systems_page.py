"""docs/systems.md says what is so: presets, sizes, commands, start noises, refusals."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from diffsda.baselines.registry import SYSTEMS, network_of
from diffsda.cli import MODULES, VERBS
from diffsda.systems import build, presets

PAGE = Path(__file__).parents[2] / "docs" / "systems.md"
TEXT = PAGE.read_text(encoding="utf-8")
OTHERS = {name: recipe for name, recipe in presets() if recipe.system != "diffsda"}


def rows(first):
    """Return the cells of the rows of the table with this first heading."""
    lines = TEXT.split(f"| {first} |", 1)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def row_of(name, recipe):
    with torch.device("meta"):
        model = build(recipe)
    clips = recipe.clips
    frame = f"{clips.channels} x {clips.size} x {clips.size}" if recipe.video else f"{clips.channels} features"
    frames = "any number" if clips.frames is None else str(clips.frames)
    count = f"{sum(p.numel() for p in model.parameters()):,}"
    codes = f"{recipe.static}, {recipe.dynamic}"
    return [f"`{name}`", recipe.system, f"{clips.modality}, {frame}", frames, codes, count]


def test_the_table_of_presets_is_that_of_the_code():
    assert rows("preset") == [row_of(name, recipe) for name, recipe in OTHERS.items()]


def test_the_published_runs_come_first():
    from diffsda.baselines.presets import PUBLISHED

    assert "The first eight are the published runs" in TEXT
    assert [recipe.name for recipe in PUBLISHED] == list(OTHERS)[:8]


def commands():
    block = re.search(r"```sh\n(.*?)```", TEXT, re.DOTALL)[1]
    return [shlex.split(line)[1:] for line in block.splitlines()]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_the_words_of_its_commands_are_known(words, capsys):
    import importlib

    from diffsda.cli.options import parse

    verb, *rest = words
    assert verb in VERBS
    module = importlib.import_module(f"diffsda.cli.{MODULES.get(verb, verb)}")
    if verb == "train":
        assert module.run([*rest, "--dry-run"]) == 0
    elif verb == "evaluate":
        assert rest[0] == "swap-labels"
    else:
        parse(module.Options, rest, verb, "")


def test_every_system_has_its_row_and_its_start_noise():
    named = {name for row in rows("system") for name in re.findall(r"`([a-z-]+)`", row[0])}
    assert named == {"diffsda", *SYSTEMS}
    for name in SYSTEMS:
        recipe = next(recipe for recipe in OTHERS.values() if recipe.system == name)
        network = network_of(name, recipe.settings)
        (noise,) = [row[1] for row in rows("system | `--noise auto`") if f"`{name}`" in row[0]]
        if network.stochastic:
            assert noise.startswith(f"`{network.policy}`")
        else:
            assert "drawn" in noise
            assert not noise.startswith("`")
        assert network.masks, "the page says that all leave missing values out of their loss"
