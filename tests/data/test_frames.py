"""Clips written frame after frame come back as they were, whatever stopped the writing."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffsda.data.frames import FrameStore, FrameWriter
from diffsda.data.frames_format import read_index, to_float, to_stored
from diffsda.data.prepared import Dataset
from diffsda.data.stream import Take
from diffsda.data.video.view import View
from diffsda.errors import InputError, SaveError

SHAPE = (2, 3, 3)


VIEW = View(frames=3, size=3)


def clips(count=6, seed=0, shape=SHAPE):
    draw = np.random.default_rng(seed)
    return [draw.normal(size=(int(draw.integers(5, 12)), *shape)).astype(np.float32) for _ in range(count)]


def fill(folder, given, dtype="float32"):
    with FrameWriter(folder, given[0].shape[1:], dtype) as writer:
        for i, frames in enumerate(given):
            writer.append(f"clip {i}", frames, {"who": i % 2})


def describe(folder, count, dtype="float32", shape=SHAPE):
    Dataset(
        kind="frames",
        name="mine",
        modality="video",
        frames=3,
        channels=shape[0],
        size=shape[1] if len(shape) == 3 else None,
        splits={"train": count},
        dtype=dtype,
        statistics=((0.0,) * shape[0], (1.0,) * shape[0]),
        source="here",
    ).write(folder)


def made(folder, dtype="float32", view=None):
    given = clips()
    fill(folder / "train", given, dtype)
    describe(folder, len(given), dtype)
    return given, FrameStore(folder, "train", view or VIEW)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bf16"])
def test_what_is_written_is_read(tmp_path, dtype):
    given, store = made(tmp_path, dtype)
    assert len(store) == 6
    assert store.lengths.tolist() == [len(g) for g in given]
    assert store.keys == tuple(f"clip {i}" for i in range(6))
    assert store.labels()["who"].tolist() == [0, 1, 0, 1, 0, 1]
    assert (store.name, store.source, store.shape) == ("mine", "here, train", (3, *SHAPE))
    assert store.statistics == ((0.0, 0.0), (1.0, 1.0))
    assert dtype in store.describe()
    for i, frames in enumerate(given):
        expected = frames if dtype == "float32" else to_float(to_stored(frames, dtype), dtype)
        assert np.array_equal(store.clip(i), expected)
        assert np.abs(store.clip(i) - frames).max() <= {"float32": 0, "float16": 2e-3, "bf16": 1.6e-2}[dtype]
    if dtype != "bf16":
        assert np.array_equal(np.load(tmp_path / "train" / "frames.npy"), store.stored), "a plain numpy file"


def test_bf16_rounds_as_torch_does():
    import torch

    draw = np.random.default_rng(0)
    bits = draw.integers(0, 2**32, 20_000, dtype=np.uint32)
    x = bits.view(np.float32)
    x = x[np.isfinite(torch.from_numpy(x).bfloat16().float().numpy())]
    ties = (np.arange(0x3F808000, 0x3F908000, 0x8000, dtype=np.uint32)).view(np.float32)
    for values in (x, ties, -ties):
        expected = torch.from_numpy(values.copy()).bfloat16()
        coded = to_stored(values[:, None], "bf16")[:, 0]
        assert np.array_equal(coded, expected.view(torch.uint16).numpy())
        assert np.array_equal(to_float(coded, "bf16"), expected.float().numpy())


def test_windows_are_those_of_the_view(tmp_path):
    view = View(frames=3, size=3, stride=2, reverse=True)
    given, store = made(tmp_path, view=view)
    takes = [[Take(0), Take(5)], [Take(2, 7), Take(2, 8), Take(1, 9)], [Take(3)]]
    batches = list(store.batches(takes))
    assert [b.shape for b in batches] == [(2, 3, *SHAPE), (3, 3, *SHAPE), (1, 3, *SHAPE)]
    assert all(b.dtype == np.float32 for b in batches)
    for batch, asked in zip(batches, takes):
        for x, take in zip(batch, asked):
            assert np.array_equal(x, given[take.item][list(view.plan(take, len(given[take.item])).indices)])
    assert np.array_equal(np.array(store.stored)[store.rows(takes[1])], batches[1]), (
        "what a GPU holds is gathered alike"
    )


def test_a_reader_may_leave_early_and_errors_arrive(tmp_path):
    _, store = made(tmp_path)
    reading = store.batches([Take(i % 6)] for i in range(1000))
    assert next(reading).shape == (1, 3, *SHAPE)
    reading.close()
    with pytest.raises(InputError, match="clip 6, expected 0 to 5"):
        list(store.batches([[Take(0)], [Take(6)]]))


def test_a_clip_may_come_in_parts_and_coded(tmp_path):
    given = clips()
    fill(tmp_path / "whole", given, "bf16")
    with FrameWriter(tmp_path / "parts", SHAPE, "bf16") as writer:
        for i, frames in enumerate(given):
            writer.add(frames[:2])
            writer.add(to_stored(frames[2:], "bf16"))
            writer.end(f"clip {i}", {"who": i % 2})
    assert files(tmp_path / "whole") == files(tmp_path / "parts")


def test_keys_that_are_there_are_skipped(tmp_path):
    given = clips()
    fill(tmp_path, given)
    before = files(tmp_path)
    with FrameWriter(tmp_path, SHAPE, "float32") as writer:
        assert "clip 3" in writer
        assert "clip 6" not in writer
        assert not writer.append("clip 3", given[0])
        writer.add(given[0])
        with pytest.raises(InputError, match="taken already"):
            writer.end("clip 3")
        with pytest.raises(InputError, match="without frames"):
            writer.end("clip 9")
    assert files(tmp_path) == before


@pytest.mark.parametrize("at", range(1, 60, 3))
def test_a_kill_at_any_byte_loses_no_whole_clip(tmp_path, at):
    given = clips()
    fill(tmp_path / "straight", given)
    straight = files(tmp_path / "straight")
    broken = tmp_path / "broken"
    fill(broken, given[:4])
    lines = straight["clips.jsonl"].splitlines(keepends=True)
    # Four clips are whole; of the fifth some bytes are there, of its line some or none.
    (broken / "clips.jsonl").write_bytes(b"".join(lines[:4]) + lines[4][: at - 1])
    with (broken / "frames.npy").open("ab") as file:
        file.write(given[4].tobytes()[: 5 * at])
    with FrameWriter(broken, SHAPE, "float32") as writer:
        assert len(writer) == 4
    fill(broken, given)
    assert files(broken) == straight


KILLED = """
import os, signal, sys
import numpy as np
from diffsda.data.frames import FrameWriter
writer = FrameWriter(sys.argv[1], (2, 3, 3), "float32")
draw = np.random.default_rng(0)
for i in range(6):
    frames = draw.normal(size=(int(draw.integers(5, 12)), 2, 3, 3)).astype(np.float32)
    writer.add(frames[:3])
    if i == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    writer.add(frames[3:])
    writer.end(f"clip {i}", {"who": i % 2})
"""


def test_a_killed_process_is_gone_on_from(tmp_path):
    given = clips()
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed")], check=False)
    assert done.returncode == -9
    with FrameWriter(tmp_path / "killed", SHAPE, "float32") as writer:
        assert len(writer) == 4, "every clip that was ended is there"
    fill(tmp_path / "killed", given)
    fill(tmp_path / "straight", given)
    assert files(tmp_path / "killed") == files(tmp_path / "straight")


def test_an_error_on_the_way_keeps_what_is_whole(tmp_path):
    given = clips()
    writer = FrameWriter(tmp_path, SHAPE, "float32")
    writer.append("clip 0", given[0])
    writer.add(given[1])
    writer.__exit__(RuntimeError, RuntimeError("decoder"), None)
    with FrameWriter(tmp_path, SHAPE, "float32") as writer:
        assert (len(writer), writer.total) == (1, len(given[0]))


@pytest.mark.parametrize("which", ["frames", "lines"])
def test_a_full_disk_is_told_and_loses_nothing(tmp_path, which, monkeypatch):
    given = clips()
    fill(tmp_path / "straight", given)
    real, count = os.write, [0]

    def write(number, data):
        count[0] += 1
        if count[0] >= (7 if which == "frames" else 8):
            real(number, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(number, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(SaveError, match=r"No space left on device.*run the same command again"):
            fill(tmp_path / "full", given)
    with FrameWriter(tmp_path / "full", SHAPE, "float32") as writer:
        assert len(writer) == 3
    fill(tmp_path / "full", given)
    assert files(tmp_path / "full") == files(tmp_path / "straight")


def test_a_clip_that_lost_a_part_is_never_ended(tmp_path, monkeypatch):
    given = clips()
    writer = FrameWriter(tmp_path, SHAPE, "float32")
    writer.append("clip 0", given[0])
    writer.add(given[1][:2])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda number, data: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(SaveError, match="full"):
            writer.add(given[1][2:4])
    for go_on in (lambda: writer.add(given[1][4:]), lambda: writer.end("clip 1")):
        with pytest.raises(SaveError, match="full"):
            go_on()
    writer.drop()
    writer.append("clip 2", given[2])
    writer.finish()
    index, _ = read_index(tmp_path / "clips.jsonl")
    assert (index.keys, index.frames) == (["clip 0", "clip 2"], [len(given[0]), len(given[2])])


def test_memory_stays_flat(tmp_path):
    frames = np.zeros((64, 64, 64), np.float32)  # 1 MiB a part
    with FrameWriter(tmp_path, (64, 64), "float32") as writer:
        writer.append("first", frames)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for i in range(100):
            writer.append(f"clip {i}", frames)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024  # KiB


def test_two_writers_are_one_too_many(tmp_path):
    with FrameWriter(tmp_path, SHAPE) as writer:
        with pytest.raises(InputError, match="another process writes"):
            FrameWriter(tmp_path, SHAPE)
        writer.append("a", clips(1)[0])
    FrameWriter(tmp_path, SHAPE).close()


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (np.zeros((4, 2, 3, 4), np.float32), r"got \(4, 2, 3, 4\), expected \(n, 2, 3, 3\)"),
        (np.full((4, *SHAPE), np.nan, np.float32), "frame 0: holds a number that is not finite"),
        (np.full((4, *SHAPE), 1e6, np.float32), "not finite in float16"),
        (np.zeros((4, *SHAPE), np.int64), "got int64 values, expected floats"),
    ],
)
def test_bad_frames_are_refused_and_cut_off(tmp_path, frames, reason):
    with FrameWriter(tmp_path, SHAPE, "float16") as writer:
        writer.append("a", clips(1)[0])
        with pytest.raises(InputError, match=reason):
            writer.append("b", frames)
        writer.append("b", clips(1)[0])
        assert len(writer) == 2


def test_another_shape_or_type_cannot_go_on(tmp_path):
    fill(tmp_path, clips())
    before = files(tmp_path)
    for shape, dtype in (((2, 3, 4), "float32"), (SHAPE, "bf16")):
        with pytest.raises(InputError, match="was begun with frames"):
            FrameWriter(tmp_path, shape, dtype)
    with pytest.raises(InputError, match="dtype: got 'float8', expected one of float32, float16, bf16"):
        FrameWriter(tmp_path, SHAPE, "float8")
    with pytest.raises(InputError, match="frame_shape"):
        FrameWriter(tmp_path, (0, 3))
    assert files(tmp_path) == before


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="could not be written"):
        FrameWriter(tmp_path / "file" / "train", SHAPE)


def forge(path: Path, **changes):
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        assert version == (1, 0)
        shape, _, kind = np.lib.format.read_array_header_1_0(file)
        body = file.read()
    plain = {"shape": shape, "descr": kind.str, "fortran_order": False, **changes}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, plain)
        file.write(body)


def total(folder):
    return np.load(folder / "train" / "frames.npy", mmap_mode="r").shape[0]


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda f: os.truncate(f / "train" / "frames.npy", 500), "truncated or forged"),
        (lambda f: os.truncate(f / "train" / "frames.npy", 20), "damaged head"),
        (lambda f: os.truncate(f / "train" / "frames.npy", 0), "damaged head"),
        (lambda f: forge(f / "train" / "frames.npy", shape=(10**12, *SHAPE)), "expected 5[0-9] "),
        (lambda f: forge(f / "train" / "frames.npy", shape=(total(f), 2, 3, 10**9)), r"expected \(2, 3, 3\)|forged"),
        (lambda f: forge(f / "train" / "frames.npy", descr="<f2"), "got numbers float16, expected float32"),
        (lambda f: forge(f / "train" / "frames.npy", descr="|O"), "damaged head"),
        (lambda f: forge(f / "train" / "frames.npy", fortran_order=True), "damaged head"),
        (lambda f: (f / "train" / "frames.npy").unlink(), "No such file"),
        (lambda f: (f / "train" / "clips.jsonl").unlink(), "No such file"),
        (lambda f: (f / "train" / "clips.jsonl").write_text(""), "expected some"),
        (lambda f: (f / "train" / "clips.jsonl").write_text('{"key": "a", "start": 0}\n'), "clips.jsonl:1"),
        (
            lambda f: (f / "train" / "clips.jsonl").write_text('{"key": "a", "start": 3, "frames": 4, "labels": {}}\n'),
            "clips.jsonl:1: got start 3 after 0 frames",
        ),
        (
            lambda f: (f / "train" / "clips.jsonl").write_text(
                '{"key": "a", "start": 0, "frames": 4, "labels": {}}\n'
                '{"key": "a", "start": 4, "frames": 4, "labels": {}}\n'
            ),
            "key 'a' twice",
        ),
        (
            lambda f: (f / "train" / "clips.jsonl").write_text(
                '{"key": "a", "start": 0, "frames": 4, "labels": {"who": "x"}}\n'
            ),
            "no whole numbers",
        ),
        (lambda f: describe(f, 6, shape=(2, 4, 4)), r"expected \(2, 4, 4\) \(dataset.json\)"),
        (lambda f: (f / "dataset.json").unlink(), "holds no dataset.json"),
    ],
)
def test_broken_folders_are_refused_with_the_reason(tmp_path, break_it, reason):
    made(tmp_path)
    break_it(tmp_path)
    with pytest.raises(InputError, match=reason) as caught:
        FrameStore(tmp_path, "train", VIEW)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        (View(frames=3, size=4), "have size 3, got clips.size 4"),
        (View(frames=3, size=3, flip=True), "neither mirrored nor recoloured"),
        (View(frames=3, size=3, jitter=0.1), "neither mirrored nor recoloured"),
        (View(frames=11, size=3), r"of 6 clips are shorter than 11 frames \(first 'clip "),
    ],
)
def test_a_view_that_cannot_be_had_is_refused_at_once(tmp_path, view, reason):
    made(tmp_path)
    with pytest.raises(InputError, match=reason):
        FrameStore(tmp_path, "train", view)
    FrameStore(tmp_path, "train", View(frames=3, size=0))


def test_lost_frames_and_damaged_lines_are_not_gone_on_from(tmp_path):
    fill(tmp_path, clips())
    lines = (tmp_path / "clips.jsonl").read_bytes()
    os.truncate(tmp_path / "frames.npy", 600)
    with pytest.raises(InputError, match="frames were lost"):
        FrameWriter(tmp_path, SHAPE, "float32")
    (tmp_path / "clips.jsonl").write_bytes(lines[:10] + b"\n" + lines[10:])
    with pytest.raises(InputError, match=r"clips\.jsonl:1"):
        FrameWriter(tmp_path, SHAPE, "float32")
