"""Start to finish, as a newcomer goes: one command to prepare, and the command it prints to train."""

import json
import shlex

import numpy as np
import pytest

from diffsda.cli import main
from diffsda.data.prepared import Dataset


def table(folder):
    folder.mkdir()
    for i in range(6):
        rows = [f"{t},{np.sin(t / 3 + i):.4f},{'' if t == 4 else i}" for t in range(20 + i)]
        (folder / f"sensor {i}.csv").write_text("\n".join(["time,level,kind", *rows]) + "\n")
    return folder


def recordings(folder):
    import soundfile

    folder.mkdir()
    draw = np.random.default_rng(0)
    for i in range(5):
        soundfile.write(folder / f"{i}.wav", 0.1 * draw.normal(size=4000 + 500 * i), 8000)
    return folder


def videos(folder):
    import av

    folder.mkdir()
    for i in range(5):
        with av.open(str(folder / f"{i}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 48, 40, "yuv420p"
            for t in range(20):
                image = np.full((40, 48, 3), 40 * i, np.uint8)
                image[t : t + 10, 10:20] = 255
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
            container.mux(stream.encode())
    return folder


MAKERS = [
    pytest.param(table, "series", {"level", "kind"}, [], id="tables"),
    pytest.param(recordings, "audio", set(), [], id="recordings", marks=pytest.mark.slow),
    pytest.param(videos, "video", set(), ["--size", "16", "--frames", "8"], id="videos", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("make", "modality", "features", "options"), MAKERS)
def test_prepare_and_train(tmp_path, monkeypatch, capsys, make, modality, features, options):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "mine")
    assert main(["prepare", "own", "mine", *options]) == 0
    out, err = capsys.readouterr()
    folder, command = out.splitlines()
    assert folder == "datasets/mine"
    assert command == "diffsda train datasets/mine/recipe.json --data datasets/mine --out runs/mine"
    held = Dataset.read(folder)
    assert held.modality == modality
    assert set(held.options.get("features", ())) == features
    assert all(line.startswith("prepare own: ") for line in err.splitlines())
    assert main([*shlex.split(command)[1:], "--optim.steps", "3", "--device", "cpu"]) == 0
    assert capsys.readouterr().out == "runs/mine\n"
    assert (tmp_path / "runs" / "mine" / "weights-00000003.safetensors").is_file()


def test_problems_make_the_exit_code_and_json_is_one_line(tmp_path, capsys):
    table(tmp_path / "mine")
    (tmp_path / "mine" / "bad\x1b.csv").write_text("")
    words = ["prepare", "own", str(tmp_path / "mine"), "--out", str(tmp_path / "out"), "--json"]
    assert main(words) == 1
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert (said["problems"], said["splits"]) == (1, {"train": 4, "val": 1, "test": 1})
    assert said["command"].startswith(f"diffsda train {tmp_path / 'out'}/recipe.json")
    assert "bad?.csv: is empty" in err
    assert "\x1b" not in err
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (["nowhere"], 2, "no such folder or file"),
        ([".", "--jobs", "0"], 2, "--jobs: got 0"),
        ([".", "--size", "4"], 2, "--size: got 4"),
        ([".", "--modality", "picture"], 2, "modality"),
        ([".", "--test-share", "1"], 2, "--test-share: got 1"),
        (["."], 2, "got nothing, expected files"),
    ],
)
def test_usage_errors_are_one_line(tmp_path, monkeypatch, capsys, words, status, reason):
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "own", *words]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert reason in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
