"""docs/evaluation.md: every protocol and setting is there in the words of the program, and its commands are known."""

import re
import shlex
from pathlib import Path

import pytest

from diffsda.cli.evaluate import Options
from diffsda.cli.options import parse
from diffsda.evaluate.judges.catalogue import CATALOGUE
from diffsda.evaluate.pairs import COLUMNS, OWN, read_list
from diffsda.evaluate.protocols import PROTOCOLS

TEXT = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line)[2:] for line in re.findall(r"^diffsda evaluate .+$", TEXT, re.MULTILINE)]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_is_there(name):
    one = PROTOCOLS[name]
    counting = "counts otherwise" if one.published_counting else "changes nothing"
    assert re.search(rf"^\| `{name}` \| {re.escape(one.tables)} \| .*\| {counting} \|$", TEXT, re.MULTILINE)
    assert TEXT.count(f"`{name}`") >= 2, "what it costs too"


@pytest.mark.parametrize(("of", "name"), [(one.name, name) for one in PROTOCOLS.values() for name in one.settings])
def test_every_setting_is_there_in_the_programs_words(of, name):
    line = PROTOCOLS[of].settings[name].line(name).removeprefix(name)
    (found,) = [one for one in TEXT.splitlines() if one.startswith(f"- `{name}`{line}: ")]
    assert of in found.rpartition(": ")[2].split(", ")


def test_every_judge_is_there():
    for entry in CATALOGUE:
        assert re.search(rf"^\| `{entry.kind}` \| .*{re.escape(entry.name)}", TEXT, re.MULTILINE)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_its_commands_are_known(words):
    options = parse(Options, words, "evaluate", "")
    assert options.protocol == "list" or options.protocol in PROTOCOLS
    if options.protocol != "list":
        from diffsda.cli.evaluation import _named

        PROTOCOLS[options.protocol].checked(_named("--set", options.set))


def test_the_list_of_pairs_it_shows_is_one(tmp_path):
    (shown,) = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
    path = tmp_path / "p.csv"
    path.write_text(shown)
    held = read_list(path)
    assert (held.name, held.first.tolist(), held.second.tolist()) == ("japanese_vowels", [12], [305])
    assert f"`{','.join(COLUMNS)}`" in TEXT
    assert f"`{OWN}`" in TEXT
