"""A miniature of Flare's data for every test that changes it."""

from types import SimpleNamespace

import pytest
from flare_miniature import MINI, draw, draw_tree

from diffsda.data.sprites.design import Identity


@pytest.fixture
def flare(tmp_path):
    """Return a tree of its own, its folder of data, a design and one of its characters."""
    mod = draw_tree(tmp_path / "flare")
    return SimpleNamespace(
        tree=tmp_path / "flare", mod=mod, design=MINI, who=Identity("male", "hair", "shirt", "trousers"), draw=draw
    )
