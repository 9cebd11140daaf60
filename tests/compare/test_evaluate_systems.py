"""diffsda evaluate scores models of every system as it scores ours, and swaps start where each system's do."""

import contextlib
import io
import json

import numpy as np
import pytest
import small_systems
import system_models

from diffsda.checkpoint import save
from diffsda.cli import main
from diffsda.data.arrays import write
from diffsda.evaluate.record import Result

PROTOCOLS = {
    "eer": ("--set", "voices=false"),
    "swap-labels": ("--set", 'judge={"updates":2}', "pairs=6", "leakage=false"),
    "reconstruction": (),
    "classification": ("--set", "runs=1", "passes=2"),
    "dci": ("--set", "trees=2"),
}
VECTORS = ("dbse-audio", "spyl-vector", "divid-vector")
VIDEOS = ("dbse-video", "spyl-video", "divid-video")
POLICY = {"dbse": "fresh", "spyl": "fresh", "divid": "shared"}


def films(folder, name, count, seed, size=16):
    """Write clips (count, 4, 3, size, size) of dark and light frames, the lighter of them in one of two places."""
    draw = np.random.default_rng(seed)
    who, what = np.arange(count) % 2, np.arange(count) // 2 % 2
    x = draw.normal(0, 0.1, (count, 4, 3, size, size)) + 0.4 * who[:, None, None, None, None]
    x[what == 1, :, :, : size // 2] += 0.4
    path = folder / f"{name}.npz"
    write(path, {"x": np.clip(x, -1, 1).astype(np.float32), "who": who, "what": what})
    return path


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Models of all systems and clips of their kinds."""
    folder = tmp_path_factory.mktemp("room")
    for name in (*VECTORS, *VIDEOS):
        (folder / name).mkdir()
        save(system_models.model(name), folder / name / "weights-00000001.safetensors")
    made = {"vector": small_systems.people, "video": films}
    return folder, {
        kind: [make(folder, f"{kind}-{part}", count, count) for part, count in (("fit", 24), ("test", 12))]
        for kind, make in made.items()
    }


def evaluated(room, out, protocol, name, *more):
    folder, clips = room
    fit, test = clips["video" if name in VIDEOS else "vector"]
    words = ["evaluate", protocol, folder / name, "--data", test, "--fit", fit, "--static", "who", "--dynamic", "what"]
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        status = main([str(word) for word in (*words, "--out", out, "--steps", "2", *more)])
    assert status == 0, said.getvalue()
    return Result.read(out)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", VECTORS)
def test_models_of_vectors_are_scored(room, tmp_path, protocol, name):
    result = evaluated(room, tmp_path / "r.json", protocol, name, *PROTOCOLS[protocol])
    rows = [row for row in result.rows if not row.baseline]
    assert any(np.isfinite(row.mean) for row in rows)
    assert json.loads((tmp_path / "r.json").read_text())["provenance"]["options"]["noise"] == POLICY[name.split("-")[0]]


@pytest.mark.parametrize("name", ["dbse-video", pytest.param("divid-video", marks=pytest.mark.slow)])
@pytest.mark.parametrize("protocol", ["eer", "swap-labels", pytest.param("reconstruction", marks=pytest.mark.slow)])
def test_models_of_video_are_scored(room, tmp_path, protocol, name):
    result = evaluated(room, tmp_path / "r.json", protocol, name, *PROTOCOLS[protocol])
    assert any(np.isfinite(row.mean) for row in result.rows if not row.baseline)


def test_swaps_start_where_the_systems_own_do(room, tmp_path):
    """Left open, the start noise is the system's; what it is asked for explicitly gives the same numbers."""
    words = PROTOCOLS["swap-labels"]
    own = evaluated(room, tmp_path / "own.json", "swap-labels", "divid-vector", *words)
    shared = evaluated(room, tmp_path / "shared.json", "swap-labels", "divid-vector", *words, "--noise", "shared")
    assert [row.to_dict() for row in own.rows] == [row.to_dict() for row in shared.rows]
    metrics = {row.metric for row in own.rows}
    assert {"joint_accuracy", "joint_accuracy_fresh_noise"} <= metrics
    drawn = evaluated(room, tmp_path / "dbse.json", "swap-labels", "dbse-audio", *words)
    assert "joint_accuracy_fresh_noise" not in {row.metric for row in drawn.rows}


def test_models_of_two_systems_are_not_one_result(room, tmp_path, capsys):
    folder, clips = room
    models = [str(folder / name) for name in ("dbse-audio", "spyl-vector")]
    words = ["evaluate", "eer", *models, "--data", str(clips["vector"][1]), "--fit", str(clips["vector"][0])]
    assert main([*words, "--out", str(tmp_path / "r.json")]) == 2
    assert "`diffsda compare` sets systems beside each other" in capsys.readouterr().err


def test_who_shares_all_labels_is_one_speaker(room, tmp_path):
    both = evaluated(room, tmp_path / "r.json", "eer", "dbse-audio", "--set", 'speaker=["who","what"]', "voices=false")
    one = evaluated(room, tmp_path / "s.json", "eer", "dbse-audio", "--set", "speaker=who", "voices=false")
    held = [next(row for row in made.rows if row.metric == "eer_static") for made in (both, one)]
    assert held[0].values != held[1].values
