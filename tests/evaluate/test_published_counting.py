"""Which protocols count in another way as published: those that ask for it, and no others."""

import re
from pathlib import Path

import pytest

from diffsda.evaluate import protocols
from diffsda.evaluate.protocols import PROTOCOLS

FOLDER = Path(protocols.__file__).parent


def asks(module, seen=()):
    """Tell whether a protocol's module, or one of theirs that it is made from, asks the job how to count."""
    text = (FOLDER / f"{module}.py").read_text()
    parts = set(re.findall(r"diffsda\.evaluate\.protocols\.(\w+) import", text)) - {*seen, module}
    return "job.as_published" in text or any(asks(part, (*seen, module)) for part in parts)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_says_whether_it_counts_otherwise_as_published(name):
    assert PROTOCOLS[name].published_counting == asks(PROTOCOLS[name].module)


def test_there_are_both_kinds():
    counting = {name for name, one in PROTOCOLS.items() if one.published_counting}
    assert counting == {"swap-video", "reconstruction", "verification", "eer", "prediction", "classification"}
