"""The real command on the real package, end to end, and training from the clips as DALI decodes them.

DIFFSDA_FLARE names a folder with the package's .deb file or its unpacked tree; without it, apt has to reach its index.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from diffsda.data.debian import fetch
from diffsda.data.prepared import Dataset, open_prepared
from diffsda.data.registry import open_clips
from diffsda.data.sprites.design import COMPACT, DYNAMIC, STATIC, target_rows
from diffsda.data.sprites.render import SpriteRenderer
from diffsda.data.stream import Take
from diffsda.data.video.footage import VideoSet
from diffsda.data.video.view import View
from diffsda.errors import DiffSDAError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[3]


def command(*words):
    """Run diffsda as people do; return what it said."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "diffsda", *map(str, words)], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    given = os.environ.get("DIFFSDA_FLARE")
    try:
        return fetch("flare-game", tmp_path_factory.mktemp("packages"), root=Path(given) if given else None)
    except DiffSDAError as error:
        if given:
            raise
        pytest.skip(f"flare-game: {error}")


@pytest.fixture(scope="module")
def sprites(package, tmp_path_factory):
    """Return a folder of 32-pixel sprites, with arrays beside it."""
    out = tmp_path_factory.mktemp("sprites") / "sprites32"
    done = command("prepare", "sprites", "--size", 32, "--root", package.tree, "--out", out, "--json")
    assert json.loads(done.stdout)["splits"] == {"train": 2772, "val": 396, "test": 396}
    return out


@pytest.fixture(scope="module")
def test_part(sprites):
    return open_clips(sprites.with_name("sprites32-arrays"), "test")


def test_characters_do_not_leak_and_every_part_is_trained_on(sprites):
    labels = {split: open_prepared(sprites, split, loader="pyav").labels() for split in ("train", "val", "test")}
    who = {split: set(zip(*(held[name].tolist() for name in STATIC), strict=True)) for split, held in labels.items()}
    assert sum(map(len, who.values())) == len(set().union(*who.values())) == 396
    for name, words in Dataset.read(sprites).label_names.items():
        assert set(labels["train"][name].tolist()) == set(range(len(words)))


def test_labels_are_read_from_pixels_of_new_characters(sprites, test_part):
    train = open_clips(sprites.with_name("sprites32-arrays"), "train").select(slice(None, None, 2))
    fit = PCA(120, svd_solver="randomized", random_state=0).fit(train.x.reshape(len(train), -1))
    seen, new = (fit.transform(clips.x.reshape(len(clips), -1)) for clips in (train, test_part))
    scale = seen.std(0)
    for name in (*STATIC, *DYNAMIC):
        probe = LogisticRegression(max_iter=200).fit(seen / scale, train.labels[name])
        right = probe.score(new / scale, test_part.labels[name])
        # Chance is a half for sex and at most a third for the others.
        assert right > 0.9, name


def test_results_of_swaps_are_rendered_and_looked_up_alike(package, sprites, test_part):
    renderer = SpriteRenderer(package.tree)
    draw = np.random.default_rng(0)
    static_of, dynamic_of = draw.integers(len(test_part), size=(2, 40))
    rows = target_rows(test_part.labels, static_of, dynamic_of)
    clips = [COMPACT.sprite({name: label[row] for name, label in test_part.labels.items()}) for row in range(396)]
    for a, b, row in zip(static_of, dynamic_of, rows, strict=True):
        exact = renderer.swap_target(clips[a], clips[b], 32)
        assert (exact * np.float32(1 / 127.5) - 1 == test_part.x[row]).all()


@pytest.mark.parametrize("loader", ["pyav", "dali"])
def test_loaders_give_the_very_pixels(sprites, test_part, loader):
    if loader == "dali":
        pytest.importorskip("nvidia.dali", reason="DALI is not installed")
    films = VideoSet(sprites, "test", View(frames=8, size=32), loader=loader)
    seen = np.concatenate(list(films.batches([[Take(row) for row in range(at, at + 36)] for at in range(0, 396, 36)])))
    # Lossless; DALI rounds its scaling to [-1, 1] another way.
    assert np.abs(seen - test_part.x).max() < 1e-6


def test_training_from_videos(sprites, tmp_path):
    loader = "dali" if importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.dali") else "pyav"
    done = command(
        "train", "sprites32", "--data", sprites, "--out", tmp_path / "run", "--optim.steps", 4, "--loader", loader
    )
    assert f"decoded by {loader} on cpu" in done.stderr
    assert "waited for clips" in done.stderr
    assert done.stdout.strip() == str(tmp_path / "run")
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert losses
    assert np.isfinite(losses).all()
