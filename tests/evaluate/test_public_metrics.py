"""The metrics people call: all there, imported when asked for, and none hidden by a file of its name."""

import subprocess
import sys

import pytest

from diffsda import evaluate


@pytest.mark.parametrize("name", evaluate.WHERE)
def test_every_public_name_is_what_its_file_holds(name):
    found = getattr(evaluate, name)
    assert callable(found), f"{name} is {found}: a file of that name hides it"
    assert found.__doc__


def test_nothing_is_imported_until_it_is_asked_for():
    code = (
        "import sys, diffsda.evaluate as e; assert not {'torch', 'sklearn', 'scipy'} & set(sys.modules); "
        "e.equal_error_rate; assert 'torch' not in sys.modules; print(e.equal_error_rate([0.9, 0.1], [True, False]))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout) == 0.0


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'accuracies'"):
        evaluate.accuracies  # noqa: B018
