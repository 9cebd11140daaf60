"""A folder of videos becomes clips of one size, with the folder as label and no one on two sides."""

import av
import numpy as np
import pytest

from diffsda.data.own.prepare import prepare_own
from diffsda.data.own.settings import Settings
from diffsda.data.problems import Problems
from diffsda.data.registry import open_clips
from diffsda.data.video.entry import read_entries
from diffsda.errors import InputError


def film(path, frames=20, shade=0, rate=10):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuvj420p"
        for t in range(frames):
            image = np.full((32, 48, 3), shade, np.uint8)
            image[8:16, 16 + t % 8 : 24 + t % 8] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())


def people(folder, count=5, each=2, **options):
    for p in range(count):
        for v in range(each):
            film(folder / f"person {p}" / f"{v}.avi", shade=20 * p + 5 * v, **options)
    return folder


def prepare(source, out, **options):
    problems, told = Problems(), []
    settings = Settings(source=source, name="mine", **{"size": 16, "frames": 8, "jobs": 0, **options})
    made = prepare_own(settings, out, problems=problems, tell=told.append)
    return made, [str(p).replace(str(source), "") for p in problems], "\n".join(told)


def sides(out, made):
    return {split: {e.labels["class"] for e in read_entries(out / f"{split}.jsonl")} for split in made.dataset.splits}


def test_videos_are_written_in_the_size_to_train_on(tmp_path):
    source = people(tmp_path / "in", rate=25)
    film(source / "person 0" / "short.avi", frames=5)
    (source / "person 1" / "broken.avi").write_bytes(b"RIFF" + bytes(50))
    made, said, told = prepare(source, tmp_path / "out")
    held = made.dataset
    assert (held.kind, held.frames, held.size, held.splits) == ("video", 8, 16, {"train": 8, "val": 1, "test": 1})
    assert held.label_names == {"class": tuple(f"person {p}" for p in range(5))}
    assert sorted(line.partition(": ")[0] for line in said) == ["/person 0/short.avi", "/person 1/broken.avi"]
    entries = read_entries(tmp_path / "out" / "train.jsonl")
    assert {(entry.width, entry.height) for entry in entries} == {(24, 16)}
    assert all(entry.path.is_relative_to(tmp_path / "out") for entry in entries)
    assert "take one in 2" in told
    assert (made.recipe.clips.stride, made.recipe.clips.size, made.recipe.backbone.kind) == (2, 16, "unet")
    assert open_clips(tmp_path / "out", "test", made.recipe.clips).x.shape == (1, 8, 3, 16, 16)


def test_a_person_may_be_held_out_whole(tmp_path):
    made, _, _ = prepare(people(tmp_path / "in"), tmp_path / "out", by="folder", test_share=0.2)
    held = sides(tmp_path / "out", made)
    assert [len(held[split]) for split in ("train", "val", "test")] == [3, 1, 1]
    assert len(set.union(*held.values())) == 5


def test_videos_may_be_kept_as_they_are(tmp_path):
    source = people(tmp_path / "in", count=3)
    made, _, _ = prepare(source, tmp_path / "out", keep=True)
    entries = read_entries(tmp_path / "out" / "train.jsonl")
    assert all(entry.path.is_relative_to(source) and entry.width == 48 for entry in entries)
    assert open_clips(tmp_path / "out", "train", made.recipe.clips).x.shape[1:] == (8, 3, 16, 16)
    with pytest.raises(InputError, match="holds a prepared set already"):
        prepare(source, tmp_path / "out")


def test_one_file_will_do(tmp_path):
    people(tmp_path / "in", count=1)
    made, said, _ = prepare(tmp_path / "in" / "person 0" / "1.avi", tmp_path / "out")
    assert (said, made.dataset.splits) == ([], {"train": 1})
    assert made.recipe.optim.batch == 2


def test_folders_of_pictures_are_videos(tmp_path):
    from PIL import Image

    for p in range(3):
        folder = tmp_path / "in" / f"walk {p}"
        folder.mkdir(parents=True)
        for t in range(9):
            image = np.full((32, 40, 3), 30 * p, np.uint8)
            image[4 + t : 10 + t] = 200
            Image.fromarray(image).save(folder / f"{t}.png")
    made, said, _ = prepare(tmp_path / "in", tmp_path / "out")
    assert (said, made.dataset.splits) == ([], {"train": 1, "val": 1, "test": 1})
    clip = open_clips(tmp_path / "out", "train", made.recipe.clips).x[0]
    assert clip.shape == (8, 3, 16, 16)
    assert np.abs(np.diff(clip, axis=0)).max() > 0.2, "something moves"
