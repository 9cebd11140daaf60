"""A bench of small systems and clips, and the verb as a function."""

import contextlib
import io
from types import SimpleNamespace

import pytest
import small_systems

from diffsda.cli import main


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Recipes of four systems and clips to train on and to score."""
    folder = tmp_path_factory.mktemp("stage")
    names = ("ours", "dbse-series", "spyl-vector", "divid-vector")
    files = small_systems.recipes(folder, *names)
    fit, test = (small_systems.people(folder, name, count, count) for name, count in (("fit", 48), ("test", 24)))
    return SimpleNamespace(folder=folder, files=dict(zip(names, files, strict=True)), fit=fit, test=test)


@pytest.fixture
def compare(stage):
    """Compare some of the recipes (or other words) on the clips; return status, stdout and stderr."""

    def run(out, *more, recipes=("ours", "dbse-series")):
        given = [str(stage.files.get(name, name)) for name in recipes]
        words = ["compare", *given, "--data", stage.fit, "--test", stage.test, "--out", out]
        words += ["--static", "who", "--dynamic", "what", "--set", 'swap-labels.judge={"updates":3}']
        said, heard = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(heard):
            status = main([str(word) for word in (*words, *more)])
        return SimpleNamespace(status=status, out=said.getvalue(), err=heard.getvalue())

    return run
