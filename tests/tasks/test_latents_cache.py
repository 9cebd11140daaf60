"""The cache holds what the first stage makes of every frame, whatever stopped it on the way."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from diffsda.cli import main
from diffsda.data.frames import FrameStore, FrameWriter
from diffsda.data.frames_format import to_float, to_stored
from diffsda.data.prepared import Dataset
from diffsda.data.problems import Problems
from diffsda.data.stream import Take
from diffsda.data.video.entry import Entry, write_entries
from diffsda.data.video.probe import probe
from diffsda.data.video.seek import read_frames
from diffsda.data.video.view import View
from diffsda.errors import InputError, SaveError
from diffsda.firststage.build import build
from diffsda.firststage.files import save_first_stage
from diffsda.firststage.recipe import FirstStage, configuration
from diffsda.tasks import footage
from diffsda.tasks.latents import Wanted, cache_latents

SIZE = 16
LENGTHS = {"train": (9, 20, 5, 12), "val": (7,)}
SMALL = FirstStage(size=SIZE, width=32, multipliers=(1, 1), blocks=1, attention=(), latent=3, codes=16)


def video(path, frames, seed):
    draw = np.random.default_rng(seed)
    start, end = draw.integers(0, 256, (2, SIZE // 4, SIZE // 4, 3))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuvj420p"
        for i in range(frames):
            image = (start + (end - start) * i / frames).astype(np.uint8).repeat(4, 0).repeat(4, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())


def footage_folder(folder):
    folder.mkdir()
    for split, lengths in LENGTHS.items():
        entries = []
        for i, frames in enumerate(lengths):
            path = folder / f"{split}{i}.avi"
            video(path, frames, 10 * len(split) + i)
            held = probe(path)
            assert held.frames == frames
            about = {n: getattr(held, n) for n in ("fps", "width", "height", "codec", "sha256")}
            entries.append(Entry(path=path, frames=frames, labels={"who": i % 2}, **about))
        write_entries(folder / f"{split}.jsonl", entries)
    Dataset(
        kind="video",
        name="mine",
        modality="video",
        frames=5,
        channels=3,
        size=SIZE,
        splits={split: len(lengths) for split, lengths in LENGTHS.items()},
        label_names={"who": ("a", "b")},
        source="here",
        licence="mine",
    ).write(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return footage_folder(tmp_path_factory.mktemp("videos") / "data")


@pytest.fixture
def stage():
    torch.manual_seed(0)
    return build(SMALL).eval()


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch):
    monkeypatch.setattr(footage, "CHUNK", 8)
    monkeypatch.setattr(footage, "AT_ONCE", 3)


def cache(data, stage, out, problems=None, told=None, **wanted):
    problems = Problems() if problems is None else problems
    wanted = {"size": SIZE, "loader": "pyav", **wanted}
    tell = (lambda words: None) if told is None else told.append
    return cache_latents(data, stage, out, Wanted(**wanted), name="small", problems=problems, tell=tell)


def direct(stage, path):
    """Return the latents of a whole video, encoded at once."""
    frames = read_frames(path, range(probe(path).frames)).transpose(0, 3, 1, 2)
    with torch.no_grad():
        return stage.encode(torch.from_numpy(frames.astype(np.float32) / 127.5 - 1)).numpy()


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("dtype", ["bf16", "float16", "float32"])
def test_latents_are_those_of_the_first_stage(data, stage, tmp_path, dtype):
    told = []
    held = cache(data, stage, tmp_path / "out", told=told, dtype=dtype)
    assert Dataset.read(tmp_path / "out") == held
    assert (held.kind, held.modality, held.channels, held.size, held.dtype) == ("frames", "video", 3, 8, dtype)
    assert (held.splits, held.frames, held.label_names) == ({"train": 4, "val": 1}, 5, {"who": ("a", "b")})
    assert held.options["first_stage_digest"] == stage.digest()
    store = FrameStore(tmp_path / "out", "train", View(frames=5, size=8))
    # The long ones come first: a loader gives clips of one length.
    assert store.keys == ("train0.avi", "train1.avi", "train3.avi", "train2.avi")
    assert store.lengths.tolist() == [9, 20, 12, 5]
    assert store.labels()["who"].tolist() == [0, 1, 1, 0]
    for i, key in enumerate(store.keys):
        expected = direct(stage, data / key)
        step = np.abs(to_float(to_stored(expected, dtype), dtype) - expected).max() if dtype != "float32" else 0
        assert np.abs(store.clip(i) - expected).max() <= 2 * step + 1e-5
    size = (tmp_path / "out" / "train" / "frames.npy").stat().st_size
    assert size == 128 + 46 * 3 * 64 * (4 if dtype == "float32" else 2)
    assert any("53 frames: latents (3, 8, 8)" in words and "MiB on disk" in words for words in told)
    assert any("frames/s" in words for words in told)


def test_statistics_are_those_of_the_training_part(data, stage, tmp_path):
    held = cache(data, stage, tmp_path / "out", dtype="float32")
    x = np.concatenate([direct(stage, data / f"train{i}.avi") for i in range(4)]).astype(np.float64)
    assert np.allclose(held.statistics[0], x.mean((0, 2, 3)), atol=1e-6)
    assert np.allclose(held.statistics[1], x.std((0, 2, 3)), atol=1e-6)


def test_windows_of_the_cache_are_those_of_the_videos(data, stage, tmp_path):
    cache(data, stage, tmp_path / "out", dtype="float32")
    view = View(frames=4, size=8, stride=2)
    store = FrameStore(tmp_path / "out", "train", view)
    takes = [Take(1, 5), Take(0, 6), Take(1, 7)]
    [batch] = store.batches([takes])
    for x, take in zip(batch, takes):
        indices = view.plan(take, int(store.lengths[take.item])).indices
        assert np.abs(x - direct(stage, data / store.keys[take.item])[list(indices)]).max() < 1e-5


KILLED = """
import os, signal, sys
import torch
sys.path.insert(0, sys.argv[4])
from test_latents_cache import SMALL, cache
from diffsda.data.frames import FrameWriter
from diffsda.firststage.build import build
from diffsda.tasks import footage
footage.CHUNK, footage.AT_ONCE = 8, 3
torch.set_num_threads(1)
torch.manual_seed(0)
stage = build(SMALL).eval()
add, count = FrameWriter.add, [0]
def killing(self, frames):
    count[0] += 1
    if count[0] == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    add(self, frames)
FrameWriter.add = killing
cache(sys.argv[1], stage, __import__("pathlib").Path(sys.argv[2]))
"""


@pytest.mark.parametrize("at", [8, pytest.param(4, marks=pytest.mark.slow)])
def test_killed_and_gone_on_with_is_the_same_to_the_byte(data, stage, tmp_path, at):
    cache(data, stage, tmp_path / "straight")
    command = [sys.executable, "-c", KILLED, str(data), str(tmp_path / "killed"), str(at), str(Path(__file__).parent)]
    assert subprocess.run(command, check=False).returncode == -9
    assert (tmp_path / "killed" / "train" / "clips.jsonl").read_text().count("\n") == {4: 1, 8: 3}[at]
    with pytest.raises(InputError, match="begun with other options"):
        cache(data, stage, tmp_path / "killed", dtype="float32")
    told = []
    cache(data, stage, tmp_path / "killed", told=told)
    assert any("going on with" in words for words in told)
    assert files(tmp_path / "straight") == files(tmp_path / "killed")


def stopped(monkeypatch, *how, **wanted):
    """Begin a cache and let the disk be full after three of its writes."""
    real, count = FrameWriter._write, [0]

    def write(self, coded):
        count[0] += 1
        if count[0] == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, coded)

    with monkeypatch.context() as patch:
        patch.setattr(FrameWriter, "_write", write)
        with pytest.raises(SaveError, match="No space left on device"):
            cache(*how, **wanted)


def test_a_full_disk_is_told_and_gone_on_from(data, stage, tmp_path, monkeypatch):
    cache(data, stage, tmp_path / "straight")
    # The second part of a clip; its third comes later, when there is room again.
    stopped(monkeypatch, data, stage, tmp_path / "full")
    assert (tmp_path / "full" / "train" / "clips.jsonl").read_text().count("\n") == 1
    cache(data, stage, tmp_path / "full")
    assert files(tmp_path / "straight") == files(tmp_path / "full")


def test_latents_that_are_no_numbers_stop_it_by_name(data, stage, tmp_path):
    with torch.no_grad():
        stage.quant_conv.bias[0] = float("nan")
    with pytest.raises(InputError, match=r"latents of train0\.avi: frame 0: holds a number that is not finite"):
        cache(data, stage, tmp_path / "out")
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_a_video_that_is_damaged_by_now_is_left_out(data, stage, tmp_path):
    folder = footage_folder(tmp_path / "data")
    (folder / "train1.avi").write_bytes(b"RIFF" + bytes(100))
    problems = Problems()
    held = cache(folder, stage, tmp_path / "out", problems)
    assert held.splits == {"train": 3, "val": 1}
    assert [problem.path for problem in problems] == ["train1.avi"]
    assert (tmp_path / "out" / "problems.jsonl").is_file()
    store = FrameStore(tmp_path / "out", "train", View(frames=5, size=8))
    assert store.keys == ("train0.avi", "train3.avi", "train2.avi")
    expected = direct(stage, folder / "train3.avi")
    assert np.abs(store.clip(1) - expected).max() < 0.02 * np.abs(expected).max()


def test_clips_in_memory_are_encoded_too(stage, tmp_path):
    x = np.random.default_rng(0).uniform(-1, 1, (5, 6, 3, SIZE, SIZE)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", x=x, lengths=[6, 6, 4, 6, 2], who=np.arange(5))
    held = cache(tmp_path / "mine.npz", stage, tmp_path / "out", dtype="float32")
    assert (held.splits, held.size, held.frames) == ({"train": 5}, 8, 6)
    store = FrameStore(tmp_path / "out", "train", View(frames=2, size=8))
    assert store.lengths.tolist() == [6, 6, 4, 6, 2]
    assert store.labels()["who"].tolist() == [0, 1, 2, 3, 4]
    with torch.no_grad():
        expected = stage.encode(torch.from_numpy(x[2, :4])).numpy()
    assert np.abs(store.clip(2) - expected).max() < 1e-5


def test_other_clips_in_memory_are_not_gone_on_with(stage, tmp_path, monkeypatch):
    x = np.random.default_rng(0).uniform(-1, 1, (5, 6, 3, SIZE, SIZE)).astype(np.float32)
    x[4, 5:] = 0
    same = {"x": x, "lengths": [6, 6, 6, 6, 5], "who": np.arange(5)}
    np.savez(tmp_path / "mine.npz", **same)
    stopped(monkeypatch, tmp_path / "mine.npz", stage, tmp_path / "out")
    for other in ({"x": x[[0, 1, 3, 2, 4]]}, {"x": -x}, {"lengths": [6] * 5}, {"who": np.arange(5)[::-1]}):
        np.savez(tmp_path / "mine.npz", **{**same, **other})
        with pytest.raises(InputError, match="begun with other options or other files"):
            cache(tmp_path / "mine.npz", stage, tmp_path / "out")
    np.savez(tmp_path / "mine.npz", **same)
    told = []
    cache(tmp_path / "mine.npz", stage, tmp_path / "out", told=told)
    assert any("going on with" in words for words in told)
    cache(tmp_path / "mine.npz", stage, tmp_path / "straight")
    assert files(tmp_path / "out") == files(tmp_path / "straight")


def test_another_decoder_does_not_go_on_and_another_tile_does(data, stage, tmp_path, monkeypatch):
    stopped(monkeypatch, data, stage, tmp_path / "out", tile=8)
    with monkeypatch.context() as patch:
        patch.setattr("diffsda.data.video.choice.choose", lambda *how: ("dali", "it is there"))
        with pytest.raises(InputError, match="begun with other options"):
            cache(data, stage, tmp_path / "out", tile=8)
    assert cache(data, stage, tmp_path / "out", tile=2).splits == {"train": 4, "val": 1}


def test_a_recipe_of_the_cache_trains(data, stage, tmp_path):
    from diffsda.data.registry import open_data
    from diffsda.recipe import Recipe
    from diffsda.train.loop import train
    from diffsda.train.options import Options

    held = cache(data, stage, tmp_path / "out")
    plain = json.loads((tmp_path / "out" / "recipe.json").read_text())
    del plain["digest"]
    recipe = Recipe.from_dict(plain)
    assert (recipe.clips.latent, recipe.clips.channels, recipe.clips.size) == (True, 3, 8)
    recipe = recipe.replace(optim={"steps": 2, "batch": 2})
    stream = open_data(tmp_path / "out", "train", recipe.clips)
    result = train(recipe, stream, tmp_path / "run", Options(device="cpu"))
    assert result.finished
    assert np.allclose(result.model.whitening.mean, held.statistics[0])


def test_flat_channels_are_warned_of(data, stage, tmp_path):
    with torch.no_grad():
        stage.quant_conv.weight[1] = 0
        stage.quant_conv.bias[2] = 40
    told = []
    held = cache(data, stage, tmp_path / "out", told=told, dtype="float32")
    assert held.statistics[1][1] == 1
    warned = [words for words in told if "warning" in words]
    assert len(warned) == 1
    assert "channels 1 of the latents do not vary" in warned[0]
    told.clear()
    cache(data, stage, tmp_path / "coarse", told=told)
    warned = [words for words in told if "warning" in words]
    assert len(warned) == 2
    assert "channels 2 vary little around a large mean, which bf16 rounds away" in warned[1]


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"size": 15}, "--size: got 15, expected a multiple of 2"),
        ({"dtype": "int8"}, "dtype: got 'int8'"),
        ({"tile": 0}, "tile: got 0"),
    ],
)
def test_what_cannot_be_is_refused(data, stage, tmp_path, wanted, reason):
    with pytest.raises(InputError, match=reason):
        cache(data, stage, tmp_path / "out", **wanted)


def test_other_data_is_refused(data, stage, tmp_path, monkeypatch):
    np.save(tmp_path / "vectors.npy", np.zeros((3, 4, 5), np.float32))
    np.save(tmp_path / "large.npy", np.zeros((3, 4, 3, 8, 8), np.float32))
    for name in ("vectors.npy", "large.npy"):
        with pytest.raises(InputError, match=r"expected \(N, V, C, 16, 16\)"):
            cache(tmp_path / name, stage, tmp_path / "out")
    cache(data, stage, tmp_path / "latents")
    with pytest.raises(InputError, match="holds frames of video, expected videos in pixels"):
        cache(tmp_path / "latents", stage, tmp_path / "out")
    with pytest.raises(InputError, match="holds a prepared set already"):
        cache(data, stage, tmp_path / "latents")
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match=r"has room for 0\.0 MiB"):
        cache(data, stage, tmp_path / "out")


def test_the_command_prints_its_folder_or_a_summary(data, tmp_path, capsys):
    torch.manual_seed(0)
    path = save_first_stage(build(configuration("tiny")), tmp_path / "tiny.safetensors")
    words = ["prepare", "latents", str(data), "--first-stage", str(path), "--size", "16", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"
    assert main([*words, "--out", str(tmp_path / "json"), "--json", "--batch", "4"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["splits"], said["first_stage"], said["size"]) == ({"train": 4, "val": 1}, "tiny.safetensors", 4)
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words[:3], "--first-stage", str(tmp_path / "none"), "--out", str(tmp_path / "x")]) != 0
    assert "none" in capsys.readouterr().err
