"""DALI gives the frames that PyAV gives, and their pixels but for rounding; broken files are named.

Both convert BT.601 with full chroma interpolation (libswscale's bilinear, accurate_rnd, full_chroma_int; asked for in
PyAV, what DALI does), so decoded frames are equal bit for bit. Scaling is bilinear with antialiasing in both. Inside,
Pillow rounds twice (along x, then along y; off by 1 at most) and DALI once (by 0.5), so whole numbers differ by 1 at
most. At the edge a filter reaches half an output pixel out of the frame with an eighth of its weight: DALI repeats the
edge there, Pillow leaves it out. With a slope per pixel and a scale of s the two differ by slope * 1.5 s / 8 there.
"""

import numpy as np
import pytest

from diffsda.data.stream import Take
from diffsda.data.video.augment import colour_matrix
from diffsda.data.video.choice import installed
from diffsda.data.video.pyav import PyAVLoader
from diffsda.data.video.view import View
from diffsda.errors import InputError

pytestmark = pytest.mark.skipif(not installed(), reason="DALI is not installed")

HALF = 127.5


@pytest.fixture(scope="module")
def loader():
    """Return a function that gives one DALI loader for a view: building a graph takes time."""
    from diffsda.data.video.dali import DaliLoader

    made = {}
    return lambda view: made.setdefault(view, DaliLoader(view, threads=2))


def jobs(films, view, count=3, batch=4):
    entries = [films.entry(name) for name in films.dali_reads]
    takes = [[Take((i * batch + j) % len(entries), 1000 + i * batch + j) for j in range(batch)] for i in range(count)]
    return [[(entries[t.item], view.plan(t, films.frames)) for t in batch] for batch in takes]


def both(films, loader, view):
    asked = jobs(films, view)
    return [*zip(loader(view).batches(asked), PyAVLoader(view, 1).batches(asked), asked, strict=True)]


@pytest.mark.parametrize(
    "view",
    [
        View(frames=6, size=72, stride=3),
        View(frames=6, size=72, window="anywhere", flip=True, reverse=True),
    ],
)
def test_frames_that_are_not_scaled_are_equal(films, loader, view):
    for dali, pyav, asked in both(films, loader, view):
        assert dali.shape == pyav.shape == (4, 6, 3, 72, 72)
        assert dali.dtype == pyav.dtype == np.float32
        assert np.abs(dali - pyav).max() < 1e-6
        # Blue counts frames: what was asked for is what there is, in that order.
        shown = (dali[:, :, 2].mean((-1, -2)) + 1) * HALF
        wanted = np.array([plan.indices for _, plan in asked]) * 255 / (films.frames - 1)
        assert np.abs(shown - wanted).max() < 5.5


@pytest.mark.parametrize("size", [32, 45])
def test_scaled_frames_differ_by_rounding(films, loader, size):
    scale = 72 / size
    original = films.smooth().astype(int)
    slope = max(np.abs(np.diff(original, axis=axis)).max() for axis in (1, 2))
    for dali, pyav, _ in both(films, loader, View(frames=6, size=size, stride=3)):
        off = np.rint(np.abs(dali - pyav) * HALF)
        assert off[..., 1:-1, 1:-1].max() <= 1
        assert off.max() <= 1 + 2 * slope * 1.5 * scale / 8
        assert off.max() < 8, "the slope is mild"


def test_colours_are_changed_alike(films, loader):
    view = View(frames=6, size=32, stride=2, flip=True, reverse=True, jitter=0.1)
    for dali, pyav, asked in both(films, loader, view):
        # A difference of 1 before the matrix becomes at most its largest row sum; each rounds by half.
        most = max(np.abs(colour_matrix(plan)[0]).sum(1).max() for _, plan in asked) + 1
        off = np.rint(np.abs(dali - pyav) * HALF)[..., 1:-1, 1:-1]
        assert off.max() <= most
        assert off.max() <= 2


def test_batches_of_any_size_come_whole_and_in_order(films, loader):
    view = View(frames=6, size=72, stride=3)
    asked = [job for batch in jobs(films, view, 10) for job in batch]
    whole = np.concatenate(list(loader(view).batches([asked[:16], asked[16:32], asked[32:]])))
    for sizes in ([40], [1, 39], [17, 3, 20], [4] * 10):
        ends = np.cumsum(sizes)
        batches = list(loader(view).batches(asked[end - size : end] for size, end in zip(sizes, ends)))
        assert [len(b) for b in batches] == sizes
        assert np.array_equal(np.concatenate(batches), whole), sizes
    assert list(loader(view).batches([])) == []


def test_what_is_left_early_can_be_begun_again(films, loader):
    view = View(frames=6, size=72, stride=3)
    asked = jobs(films, view, 8)
    whole = list(loader(view).batches(asked))
    for taken in (0, 1, 5):
        going = loader(view).batches(asked)
        for i in range(taken):
            assert np.array_equal(next(going), whole[i])
        going.close()
    first, second = loader(view).batches(asked), loader(view).batches(asked[4:])
    for i in range(4):
        assert np.array_equal(next(first), whole[i])
        assert np.array_equal(next(second), whole[4 + i])
    first.close()
    second.close()
    assert all(np.array_equal(a, b) for a, b in zip(loader(view).batches(asked), whole, strict=True))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("garbage.mp4", "cannot (be )?decode"),
        ("h264.mp4", "DALI cannot decode it on cpu"),
        ("empty.mp4", "(is empty, expected a video|cannot be decoded)"),
        ("absent.mp4", "no such file"),
        ("short.mp4", "out-of-bounds frame index"),
    ],
)
def test_a_file_that_cannot_be_decoded_is_named(films, loader, tmp_path, name, words, capfd):
    if name == "garbage.mp4":
        (tmp_path / name).write_bytes(bytes(range(256)) * 9)
    elif name == "empty.mp4":
        (tmp_path / name).touch()
    elif name == "short.mp4":
        films.write(tmp_path / name, films.smooth(3), "libvpx-vp9")
    elif name == "h264.mp4":
        (tmp_path / name).write_bytes(films[name].read_bytes())
    view = View(frames=6, size=72, stride=3)
    asked = jobs(films, view, 6)
    asked[3][2] = (films.entry(tmp_path / name), asked[3][2][1])
    good = list(loader(view).batches(asked[:3]))
    going = loader(view).batches(asked)
    for batch in good:
        assert np.array_equal(next(going), batch), "what was good comes first"
    with pytest.raises(InputError, match=rf"{name}: .*{words}"):
        next(going)
    assert len(list(loader(view).batches(asked[:3]))) == 3, "the loader works on"


def test_errors_of_whoever_asks_come_through(films, loader):
    view = View(frames=6, size=72, stride=3)

    def asking():
        yield from jobs(films, view, 2)
        raise InputError("enough")

    going = loader(view).batches(asking())
    assert len([next(going), next(going)]) == 2
    with pytest.raises(InputError, match="enough"):
        next(going)
    with pytest.raises(InputError, match="empty batch"):
        list(loader(view).batches([[]]))


def test_what_leaves_the_device_is_a_finished_copy(monkeypatch):
    torch = pytest.importorskip("torch")
    from diffsda.data.video import dali

    done, held = [], torch.arange(6.0)

    class Stream:
        def synchronize(self):
            done.append(self)

    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    clips = dali._copy(held)
    held.zero_()
    assert clips.tolist() == [0, 1, 2, 3, 4, 5], "DALI writes over its memory"
    assert len(done) == 1
