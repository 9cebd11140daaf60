"""Tiles keep one shape, and are only as large as a clip's place in them changes nothing."""

import numpy as np
import pytest
import torch
from infer_jobs import RECIPE, clip, session

from diffsda.errors import InputError
from diffsda.export.infer import tiles
from diffsda.export.infer.loading import Failure, Loaded
from diffsda.export.infer.tasks import Encode, Reconstruct, Swap, task_named
from diffsda.export.infer.tiles import Sizes, check_tile, compute, gathered


def loaded(seed, frames=5):
    return Loaded(str(seed), (clip(seed, frames),))


class Counting(Encode):
    """Give clips back, all but those at a place from ``odd`` on in a tile that is larger than that."""

    odd: int = 10**9

    def run(self, session, given, seeds):
        session.append(given[0].shape)
        x = torch.tensor(given[0])
        x[self.odd :] += 1e-3
        return {"x": x}


def test_a_tile_is_padded_to_its_shape():
    shapes = []
    made = compute(Counting(), shapes, [loaded(0), loaded(1)], [0, 1], 4)
    assert shapes == [(4, 5, 3)]
    np.testing.assert_array_equal(made["x"], [clip(0), clip(1)])


@pytest.mark.parametrize(("odd", "wish", "found"), [(99, 8, 8), (7, 8, 4), (3, 8, 2), (1, 8, 1), (0, 8, 8), (5, 6, 3)])
def test_the_largest_tile_in_which_places_do_not_matter(odd, wish, found):
    task = type("Odd", (Counting,), {"odd": odd})()
    shapes = []
    sizes = Sizes(task, shapes, wish)
    assert sizes(((5, 3),)) == found
    tried = len(shapes)
    assert sizes(((5, 3),)) == found
    assert len(shapes) == tried, "tried once for each shape"
    assert sizes.found == {((5, 3),): found}


@pytest.mark.parametrize("hidden", [6, 8])
@pytest.mark.parametrize("name", ["encode", "reconstruct", "swap"])
def test_in_the_tile_found_every_place_gives_the_same_bytes(hidden, name):
    """With 6 hidden values rows are not whole vectors of the processor, and places do matter on many."""
    runner = session(RECIPE.replace(encoder={"hidden": hidden}))
    task = task_named(name, runner)
    clips = [Loaded(str(i), (clip(i),) * len(task.fields)) for i in range(8)]
    size = Sizes(task, runner, 8)(clips[0].shapes)
    alone = compute(task, runner, [clips[5]], [5], size)
    for at in range(size):
        others = [c for c in clips if c.key != "5"][: size - 1]
        tile = [*others[:at], clips[5], *others[at:]]
        made = compute(task, runner, tile, [int(c.key) for c in tile], size)
        for part, value in made.items():
            assert value[at].tobytes() == alone[part][0].tobytes(), (part, at)


def test_clips_gather_by_shape():
    clips = [loaded(0), loaded(1, 6), Failure("bad", "why"), loaded(2), loaded(3, 6), loaded(4), loaded(5, 7)]

    def names(complete):
        ready = gathered(iter(clips), lambda shapes: 2, lambda: complete)
        return [thing.key if isinstance(thing, Failure) else ([c.key for c in thing[0]], thing[1]) for thing in ready]

    full = ["bad", (["0", "2"], 2), (["1", "3"], 2)]
    assert names(True) == [*full, (["4"], 2), (["5"], 2)]
    assert names(False) == full, "stopped, what waits stays for the next run"


def test_where_memory_is_short_the_largest_group_goes_first(monkeypatch):
    monkeypatch.setattr(tiles, "HELD", 4 * clip(0).nbytes)
    clips = [loaded(0, 6), *[loaded(i) for i in range(1, 12)]]
    groups = [[c.key for c in ready[0]] for ready in gathered(iter(clips), lambda shapes: 100, lambda: True)]
    assert sorted(key for group in groups for key in group) == sorted(map(str, range(12)))
    assert max(map(len, groups)) <= 5
    assert groups[0] == ["1", "2", "3"]


def test_options_of_tasks():
    runner = session()
    assert task_named("encode", runner) == Encode()
    assert task_named("reconstruct", runner) == Reconstruct(noise="own", steps=3)
    assert task_named("swap", runner, steps=2, noise="shared") == Swap(noise="shared", steps=2)
    assert task_named("swap", runner).short() == Swap(noise="dynamic", steps=2)
    for words, name, options in [
        ("task: got 'paint', expected one of encode, reconstruct, swap, generate, traverse", "paint", {}),
        ("noise: got 'dynamic', expected one of own, fresh for reconstruct", "reconstruct", {"noise": "dynamic"}),
        ("noise: got 'own', expected one of dynamic, static, fresh, shared", "swap", {"noise": "own"}),
        ("steps: got 1, expected a whole number of at least 2", "swap", {"steps": 1}),
        ("steps: got 3, expected none: encode does not sample", "encode", {"steps": 3}),
        ("noise: got 'own', expected none: encode does not sample", "encode", {"noise": "own"}),
    ]:
        with pytest.raises(InputError, match=words):
            task_named(name, runner, **options)
    for tile in (0, -1, 2.0, True):
        with pytest.raises(InputError, match="tile: got"):
            check_tile(tile)
