"""A prepared set of videos as a stream: order, seeds, shards and resuming are in the takes alone."""

import re

import numpy as np
import pytest

from diffsda.data.prepared import open_prepared
from diffsda.data.stream import Take
from diffsda.data.video import choice
from diffsda.data.video.choice import choose
from diffsda.data.video.footage import VideoSet
from diffsda.data.video.view import View
from diffsda.errors import InputError, MissingPackage
from diffsda.recipe import Clips

VIEW = View(frames=6, size=24, stride=2, flip=True, jitter=0.1)
LOADERS = ["pyav", pytest.param("dali", marks=pytest.mark.skipif(not choice.installed(), reason="no DALI"))]


@pytest.fixture(params=LOADERS)
def footage(request, films, tmp_path):
    entries = [films.entry(name, labels={"who": i, "odd": i % 2}) for i, name in enumerate(films.dali_reads)]
    entries[1] = films.entry("vp9.webm", labels={"who": 1})
    folder = films.prepared(tmp_path / "set", entries, source="cameras", statistics=((0.0,) * 3, (0.5,) * 3))
    return VideoSet(folder, "train", VIEW, loader=request.param, threads=2)


def epoch(seed, batch=2, items=6):
    order = np.random.default_rng(seed).permutation(items)
    takes = [Take(int(item), 100 * seed + place) for place, item in enumerate(order)]
    return [takes[i : i + batch] for i in range(0, items, batch)]


def read(footage, takes):
    return np.concatenate(list(footage.batches(takes)))


def test_a_set_says_what_it_is(footage):
    assert len(footage) == 6
    assert (footage.name, footage.source) == ("films", "cameras, train")
    assert footage.shape == (6, 3, 24, 24)
    assert footage.statistics == ((0.0,) * 3, (0.5,) * 3)
    labels = footage.labels()
    assert labels["who"].tolist() == list(range(6))
    assert labels["odd"].tolist() == [0, -1, 0, 1, 0, 1]
    assert labels["who"].dtype == np.int64
    assert footage.describe() == f"6 videos of films, decoded by {footage.loader} on cpu (asked for)"


def test_epochs_can_be_had_again(footage):
    first, other = read(footage, epoch(1)), read(footage, epoch(2))
    assert first.shape == (6, 6, 3, 24, 24)
    assert first.dtype == np.float32
    assert first.min() >= -1
    assert first.max() <= 1
    assert np.array_equal(read(footage, epoch(1)), first)
    assert not np.array_equal(other, first)


def test_an_epoch_can_be_gone_on_with(footage):
    takes = epoch(3) + epoch(4)
    whole = list(footage.batches(takes))
    going = footage.batches(takes)
    begun = [next(going) for _ in range(2)]
    going.close()
    rest = list(footage.batches(takes[2:]))
    assert all(np.array_equal(a, b) for a, b in zip(begun + rest, whole, strict=True))


def test_shards_together_are_the_epoch(footage):
    takes = epoch(5)
    whole = read(footage, takes)
    parts = [read(footage, [batch[shard : shard + 1] for batch in takes]) for shard in range(2)]
    assert np.array_equal(np.stack(parts, 1).reshape(whole.shape), whole)


def test_a_clip_is_what_its_take_says_whatever_it_is_read_with(footage):
    take = Take(2, 77)
    alone = read(footage, [[take]])[0]
    among = read(footage, [[Take(0, 5), take, Take(4, 9)], [take, take]])
    assert all(np.array_equal(alone, clip) for clip in among[[1, 3, 4]])


def test_a_fixed_view_is_as_it_is(footage, films):
    fixed = read(footage, [[Take(item) for item in range(6)]])
    blue = (fixed[:, :, 2].mean((-1, -2)) + 1) * 127.5
    assert np.abs(blue - np.arange(0, 12, 2) * 255 / 23).max() < 5.5


def test_what_is_not_there_is_refused(footage):
    for item in (6, -1):
        with pytest.raises(InputError, match=rf"item: got {item}, expected one of the 6 of films"):
            list(footage.batches([[Take(0)], [Take(item)]]))


def test_a_lost_file_is_named_when_it_is_read(footage, films, tmp_path):
    entries = [films.entry("vp9.mp4"), films.entry(tmp_path / "lost.mp4")]
    lost = VideoSet(films.prepared(tmp_path / "other", entries), "train", VIEW, loader=footage.loader)
    going = lost.batches([[Take(0)], [Take(1)]])
    next(going)
    with pytest.raises(InputError, match=r"lost\.mp4: no such file"):
        next(going)


def test_sets_that_will_not_do_are_refused(films, tmp_path):
    folder = films.prepared(tmp_path / "set", [films.entry("vp9.mp4")])
    with pytest.raises(InputError, match=r"vp9\.mp4: got 24 frames, expected at least 25"):
        VideoSet(folder, "train", View(frames=25, size=24))
    with pytest.raises(InputError, match="size: got 0"):
        VideoSet(folder, "train", View(frames=5, size=0))
    with pytest.raises(InputError, match=r"test\.jsonl: no such file"):
        VideoSet(folder, "test", VIEW)


def test_prepared_folders_open_with_what_a_recipe_asks_for(films, tmp_path):
    folder = films.prepared(tmp_path / "set", [films.entry("h264.mp4"), films.entry("mpeg4.avi")])
    form = Clips(modality="video", frames=5, channels=3, size=16, stride=3, window="anywhere", reverse=True)
    stream = open_prepared(folder, "train", form)
    assert stream.shape == (5, 3, 16, 16)
    assert stream.view == View(frames=5, size=16, stride=3, window="anywhere", reverse=True)
    assert stream.loader == "pyav"
    assert open_prepared(folder, "train").shape == (8, 3, 32, 32)
    with pytest.raises(InputError, match="split: got 'test'"):
        open_prepared(folder, "test", form)


def test_pyav_lets_go_of_what_is_not_wanted(films, tmp_path):
    footage = VideoSet(films.prepared(tmp_path / "set", [films.entry("vp9.mp4")]), "train", VIEW, loader="pyav")
    asked = []

    def takes():
        for step in range(1000):
            asked.append(step)
            yield [Take(0, step)]

    going = footage.batches(takes())
    next(going)
    going.close()
    assert len(asked) < 10, "reads ahead, a little"


@pytest.mark.parametrize(
    ("device", "held", "there", "nvcuvid", "chosen", "why"),
    [
        ("cpu", {"vp9": 64, "mjpeg": 8}, True, False, "dali", "it decodes mjpeg, vp9 there"),
        ("cpu", {"vp9": 64}, False, False, "pyav", "not dali: nvidia-dali is not installed"),
        (
            "cpu",
            {"vp9": 64, "h264": 64},
            True,
            False,
            "pyav",
            "decodes only mjpeg, vp8, vp9 on cpu and the set holds h264",
        ),
        ("cuda:0", {"vp9": 256, "h264": 64}, True, True, "dali", "it decodes h264, vp9 there"),
        ("cuda", {"av1": 128}, True, True, "dali", "it decodes av1"),
        ("cuda:0", {"gif": 256, "vp9": 256}, True, True, "pyav", "the set holds gif"),
        ("cuda:0", {"vp9": 256}, True, False, "pyav", r"no libnvcuvid\.so\.1"),
        ("cuda:0", {"vp9": 96, "mjpeg": 64}, True, True, "pyav", r"too small .*: 96 pixels of vp9 \(128\)"),
    ],
)
def test_dali_is_chosen_where_it_can_decode(monkeypatch, device, held, there, nvcuvid, chosen, why):
    monkeypatch.setattr(choice, "installed", lambda: there)
    monkeypatch.setattr(choice, "has_video_decoder", lambda: nvcuvid)
    loader, said = choose("auto", device, held)
    assert loader == chosen
    assert re.search(why, said)
    assert choose("pyav", device, held) == ("pyav", "asked for")
    if chosen == "dali":
        assert choose("dali", device, held) == ("dali", "asked for")
        return
    kind = InputError if there else MissingPackage
    with pytest.raises(kind, match="loader: got dali, but"):
        choose("dali", device, held)


def test_words_that_mean_nothing_are_refused():
    with pytest.raises(InputError, match="loader: got 'opencv', expected one of auto, dali, pyav"):
        choose("opencv", "cpu", {"vp9": 64})
    with pytest.raises(InputError, match="device: got 'gpu', expected cpu, cuda or cuda:N"):
        choose("auto", "gpu", {"vp9": 64})
