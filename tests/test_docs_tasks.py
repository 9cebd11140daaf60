"""Every command of docs/tasks.md: its words are known, and it runs as it is written."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from diffsda.cli import MODULES, VERBS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tasks.md"


def blocks():
    """Return the shell blocks of the page, in order."""
    return re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def commands():
    """Return the verb and words of every diffsda command."""
    lines = [line for block in blocks() for line in block.splitlines() if line.startswith("diffsda ")]
    return [shlex.split(line)[1:] for line in lines]


def test_the_page_shows_every_task():
    assert {"swap", "generate", "zero-shot", "traverse", "interpolate", "lengthen"} <= {
        words[0] for words in commands()
    }


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_its_words_are_known(words):
    import importlib

    from diffsda.cli.options import parse

    verb, *rest = words
    assert verb in VERBS
    module = importlib.import_module(f"diffsda.cli.{MODULES.get(verb, verb)}")
    if verb == "train":
        # Its options depend on the preset; the last word before the recipe's own is --dry-run.
        assert module.run([*rest, "--dry-run"]) == 0
        return
    parse(module.Options, rest, verb, "")


# Minutes of work for one core: several times that where cores are slow or shared.
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_it_runs_as_written(tmp_path):
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, start in (("diffsda", "-m diffsda"), ("python", "")):
        (binaries / name).write_text(f'#!/bin/sh\nexec {sys.executable} {start} "$@"\n')
        (binaries / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    work = tmp_path / "work"
    work.mkdir()
    for block in blocks():
        done = subprocess.run(
            ["sh", "-e", "-c", block], cwd=work, env=env, capture_output=True, text=True, timeout=1800
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
    for words in commands():
        for option in ("--out", "--figure"):
            if option in words:
                made = work / words[words.index(option) + 1]
                assert made.is_dir() or made.stat().st_size > 100, made
