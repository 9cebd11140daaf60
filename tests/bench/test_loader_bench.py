"""The loader benches time what they say: the frames asked for, by everyone who is here; others are skipped by name."""

import json
from pathlib import Path

import numpy as np
import pytest

from diffsda.bench import gpu_loader, loader_cases
from diffsda.bench.loader_cases import DECORD, OURS, PUBLISHED, PYAV, TORCHCODEC, Films, absent, epoch, floor, numbers
from diffsda.data.video import choice
from diffsda.data.video.entry import Entry

pytest.importorskip("av", reason="PyAV is not installed")


@pytest.fixture(scope="module")
def some():
    return Films("vp9", files=3, length=60)


def test_everyone_here_gives_the_frames_asked_for(some):
    batches = [some.jobs(step) for step in range(2)]
    wanted = np.array([plan.indices for _, plan in batches[-1]])
    assert len(np.unique(wanted)) > 20
    clips = {who: epoch(who, 1, batches)() for who in (PUBLISHED, PYAV, OURS, TORCHCODEC, DECORD) if not absent(who)}
    assert {PUBLISHED, PYAV, OURS} <= clips.keys()
    for who, got in clips.items():
        assert got.shape == (3, 10, 3, 96, 96)
        assert got.dtype == np.float32
        assert np.array_equal(numbers(got), wanted), who
        assert np.abs(got - clips[PUBLISHED]).mean() / 2 <= loader_cases.ALIKE, who
    assert not np.array_equal(numbers(clips[OURS][:, ::-1]), wanted), "order is seen"
    floor(1, batches)()


def test_what_cannot_be_loaded_is_named(monkeypatch):
    def broken(name):
        raise OSError("Could not load this library: libx.so\nand much more")

    monkeypatch.setattr(loader_cases.importlib, "import_module", broken)
    assert absent(TORCHCODEC) == "OSError: Could not load this library: libx.so"


def said(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]


def test_on_a_device_what_is_lacking_is_named(monkeypatch, capsys):
    monkeypatch.setattr(gpu_loader.torch.cuda, "is_available", lambda: False)
    assert gpu_loader.main(["--kind", "time", "--seconds", "9", "--preset", "voxceleb"]) == 0
    rows = [line["row"] for line in said(capsys)]
    assert {row["skipped"] for row in rows} == {"no CUDA device"}
    assert {(row["case"], row["peer"]) for row in rows} == {
        *((case, who) for case in gpu_loader.VIDEO_CASES for who in ("dali_cuda", "dali_cpu", "pyav")),
        ("loader/latents", "mapped"),
    }
    monkeypatch.setattr(gpu_loader.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(choice, "installed", lambda: True)
    monkeypatch.setattr(choice, "has_video_decoder", lambda: False)
    assert "libnvcuvid" in gpu_loader.lacking("dali_cuda", "loader/vp9", "cuda")
    assert gpu_loader.lacking("dali_cpu", "loader/vp9", "cuda") is None
    about = {"frames": 9, "fps": 25.0, "width": 300, "height": 300, "sha256": ""}
    given = [Entry(path=Path("a.mp4"), codec="h264", **about)]
    assert "holds h264" in gpu_loader.lacking("dali_cpu", "loader/vp9", "cuda", given)
    monkeypatch.setattr(choice, "installed", lambda: False)
    assert "not installed" in gpu_loader.lacking("dali_cuda", "loader/vp9", "cuda")


def test_rows_without_a_device(monkeypatch, capsys):
    few = Films("mjpeg", side=48, files=2, length=30)
    monkeypatch.setattr(gpu_loader, "write_films", lambda folder, name: few.entries)
    options = ["--device", "cpu", "--each", "0.05", "--peers", "pyav", "mapped"]
    assert gpu_loader.main([*options, "--cases", "loader/mjpeg", "loader/latents"]) == 0
    lines = said(capsys)
    assert lines[0] == {"starting": "pyav", "case": "loader/mjpeg"}
    rows = {line["row"]["peer"]: line["row"] for line in lines if "row" in line}
    assert rows.keys() == {"pyav", "mapped"}
    for row in rows.values():
        assert row["clips_per_s"] > 0
        assert row["frames_per_s"] == pytest.approx(10 * row["clips_per_s"])
        assert row["decoders_percent"] is None
        assert "slowdown" not in row
