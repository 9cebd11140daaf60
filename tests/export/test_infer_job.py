"""Jobs: what they list, and what is refused before any work, by file and line."""

import re

import numpy as np
import pytest
from infer_jobs import clip, folder_of, job_of

from diffsda.data.arrays import write
from diffsda.errors import InputError
from diffsda.export.infer import read_job

DONORS = ("static", "dynamic")


def keys(job):
    return [item.key for item in job.items]


def test_a_folder_lists_its_files_and_those_below(tmp_path):
    folder = folder_of(tmp_path / "job", 2)
    write(folder / "sub" / "a.b.npy", {"x": clip(0)}) if (folder / "sub").mkdir() is None else None
    write(folder / "s.safetensors", {"x": clip(0)})
    (folder / "notes.txt").write_text("no clip")
    (folder / ".hidden").mkdir()
    write(folder / ".hidden" / "h.npz", {"x": clip(0)})
    write(folder / ".h.npz", {"x": clip(0)})
    assert keys(read_job(folder)) == ["0", "1", "s", "sub/a.b"]


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors"])
def test_a_batch_file_stands_for_its_clips(tmp_path, suffix):
    write(tmp_path / f"many{suffix}", {"x": np.stack([clip(i) for i in range(3)])})
    assert keys(read_job(tmp_path)) == ["many/0", "many/1", "many/2"]
    assert [item.row for item in read_job(tmp_path / f"many{suffix}").items] == [0, 1, 2]
    job = job_of(tmp_path / "job.jsonl", [{"key": "k", "path": f"many{suffix}"}])
    assert keys(read_job(job)) == ["k/0", "k/1", "k/2"]


def test_one_clip_of_video_is_no_batch_and_a_batch_of_one_is(tmp_path):
    write(tmp_path / "one.npy", {"x": np.zeros((3, 2, 8, 8), np.float32)})
    write(tmp_path / "two.npy", {"x": np.zeros((1, 3, 2, 8, 8), np.float32)})
    assert keys(read_job(tmp_path)) == ["one", "two/0"]


def test_lines_name_paths_from_the_job_file(tmp_path):
    (tmp_path / "jobs").mkdir()
    write(tmp_path / "a.npz", {"x": clip(0)})
    job = job_of(tmp_path / "jobs" / "job.jsonl", [{"key": "é/../x", "path": "../a.npz", "note": 1}])
    job.write_bytes(b"\xef\xbb\xbf" + job.read_bytes() + b"\n  \n")
    (item,) = read_job(job).items
    assert (item.key, [path.resolve() for path in item.paths]) == ("é/../x", [(tmp_path / "a.npz").resolve()])


def test_a_broken_file_is_listed_and_fails_later(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"")
    job = job_of(tmp_path / "job.jsonl", [{"key": "gone", "path": "nowhere.npz"}, {"key": "odd", "path": "x.mp4"}])
    assert keys(read_job(tmp_path / "a.npz")) == ["a"]
    assert keys(read_job(job)) == ["gone", "odd"]


def test_shards_part_a_job(tmp_path):
    job = read_job(folder_of(tmp_path / "job", 7))
    parts = [job.shard(i, 3) for i in range(3)]
    assert sorted(item.key for part in parts for item in part) == keys(job)
    assert [len(part) for part in parts] == [3, 2, 2]


GOOD = b'{"key": "a", "path": "a.npz"}\n'
BAD = [
    (GOOD + b"{oops}\n", ":2: got a line that is not JSON"),
    (GOOD + b"\n[1]\n", ":3: got list, expected an object"),
    (b'{"path": "a.npz"}\n', ":1: got no 'key', expected text for each of key, path"),
    (GOOD + b'{"key": "b"}', ":2: got no 'path'"),
    (b'{"key": 3, "path": "a.npz"}\n', ":1: got 3 as 'key'"),
    (b'{"key": "", "path": "a.npz"}\n', ":1: got '' as 'key'"),
    (b'{"key": "b", "path": "a\\u0000"}\n', ":1: got "),
    (GOOD * 2, "job.jsonl:2: key 'a' is that of "),
    (b"\xff\xfe\n", ":1: got a line that is not JSON"),
    (b"[" * 100_000 + b"\n", ":1: got a line that is not JSON"),
    (GOOD[:-5], ":1: got a line that is not JSON"),
    (b"\n\n", "got nothing to do, expected at least one line"),
]


@pytest.mark.parametrize(("text", "words"), BAD)
def test_jobs_that_are_refused(tmp_path, text, words):
    path = tmp_path / "job.jsonl"
    path.write_bytes(text)
    with pytest.raises(InputError, match=re.escape(words)) as told:
        read_job(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_swap_line_needs_both_donors(tmp_path):
    job = job_of(tmp_path / "job.jsonl", [{"key": "a", "static": "a.npz", "dynamic": "b.npz"}])
    assert [path.name for path in read_job(job, DONORS).items[0].paths] == ["a.npz", "b.npz"]
    job_of(job, [{"key": "a", "static": "a.npz", "path": "b.npz"}])
    with pytest.raises(InputError, match=r":1: got no 'dynamic', expected text for each of key, static, dynamic"):
        read_job(job, DONORS)
    with pytest.raises(InputError, match="got a folder, expected a JSON-lines file with key, static, dynamic"):
        read_job(tmp_path, DONORS)


def test_two_clips_of_one_key(tmp_path):
    write(tmp_path / "a.npz", {"x": clip(0)})
    write(tmp_path / "a.npy", {"x": clip(0)})
    with pytest.raises(InputError, match=r"a\.npz: key 'a' is that of .*a\.npy too"):
        read_job(tmp_path)
    write(tmp_path / "many.npy", {"x": clip(0)[None]})
    job = job_of(tmp_path / "job.jsonl", [{"key": "m/0", "path": "a.npz"}, {"key": "m", "path": "many.npy"}])
    with pytest.raises(InputError, match=r":2: key 'm/0' is that of .*:1 too"):
        read_job(job)


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match=r"got nothing to do, expected files ending in \.npz, \.npy"):
        read_job(tmp_path)
    for name in ("gone.jsonl", "gone.npz", "gone"):
        with pytest.raises(InputError, match=f"{name}: (no such file|cannot be read)"):
            read_job(tmp_path / name)
