"""Videos, sounds and tables in a job: what they become for a model, and how those fail that cannot be used."""

from fractions import Fraction

import numpy as np
import pytest
from infer_jobs import RECIPE, infer, lines, session

from diffsda.errors import InputError, MissingPackage
from diffsda.export.infer import read_job, sources
from diffsda.recipe import Clips

PIXELS = Clips(modality="video", frames=4, channels=3, size=16, stride=2)
MELS = Clips(modality="audio", frames=5, channels=80, size=None)
SERIES = Clips(modality="series", frames=None, channels=2, size=None)


def film(path, frames, size=(24, 16)):
    """Write a video whose frame i is as bright as i says."""
    av = pytest.importorskip("av")
    from diffsda.data.video.encode import Encoding, write_video

    pictures = [np.full((size[1], size[0], 3), 8 * i, np.uint8) for i in range(frames)]
    shown = (av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures)
    write_video(shown, path, Encoding(codec="mjpeg"), Fraction(25))
    return path


def brightness(x):
    """The level of each frame of the one clip of a file, as it was written."""
    return np.rint((x[0].mean((1, 2, 3)) + 1) * 127.5 / 8).astype(int).tolist()


def test_a_video_is_its_first_frames_at_the_recipes_stride(tmp_path):
    found = sources.read(film(tmp_path / "a.mp4", 20), PIXELS)
    assert (found.x.shape, found.x.dtype) == ((1, 4, 3, 16, 16), np.float32)
    assert brightness(found.x) == [0, 2, 4, 6]
    # One that is too short for the stride is taken more closely, as in training.
    assert brightness(sources.read(film(tmp_path / "b.mp4", 5), PIXELS).x) == [0, 1, 2, 3]
    whole = Clips(modality="video", frames=None, channels=3, size=16)
    assert brightness(sources.read(tmp_path / "b.mp4", whole).x) == [0, 1, 2, 3, 4]
    spread = Clips(modality="video", frames=4, channels=3, size=16, window="anywhere")
    assert brightness(sources.read(tmp_path / "a.mp4", spread).x) == [0, 6, 12, 18]


def test_videos_that_cannot_be_used_say_why(tmp_path):
    film(tmp_path / "short.mp4", 3)
    (tmp_path / "cut.mp4").write_bytes(film(tmp_path / "a.mp4", 20).read_bytes()[:400])
    latent = Clips(modality="video", frames=4, channels=4, size=16, latent=True)
    for name, form, words in (
        ("short.mp4", PIXELS, "got 3 frames, expected at least 4"),
        ("cut.mp4", PIXELS, r"cut\.mp4"),
        ("a.mp4", latent, "--first-stage"),
        ("a.mp4", SERIES, "is a video, expected clips for a model of series"),
        ("a.mp4", None, "is a video"),
    ):
        with pytest.raises(InputError, match=words) as told:
            sources.read(tmp_path / name, form)
        assert "\n" not in str(told.value)


def tone(path, seconds=0.2, rate=16_000):
    sound = pytest.importorskip("soundfile")
    t = np.arange(int(seconds * rate)) / rate
    sound.write(path, 0.3 * np.sin(2 * np.pi * 440 * t).astype(np.float32), rate)
    return path


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_recording_is_log_mel_spectra(tmp_path, ending):
    from diffsda.data.audio.mel import log_mel
    from diffsda.data.audio.waves import read_wave

    path = tone(tmp_path / f"a.{ending}")
    whole = log_mel(*read_wave(path))
    assert np.array_equal(sources.read(path, MELS).x[0], whole[:5])
    free = Clips(modality="audio", frames=None, channels=80, size=None)
    assert np.array_equal(sources.read(path, free).x[0], whole)
    for form, words in (
        (Clips(modality="audio", frames=500, channels=80, size=None), "has 17 frames, expected at least 500"),
        (Clips(modality="audio", frames=5, channels=12, size=None), "expected the model's 12 features"),
        (SERIES, "is a recording, expected clips for a model of series"),
    ):
        with pytest.raises(InputError, match=words):
            sources.read(path, form)
    (tmp_path / "bad.wav").write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"bad\.wav"):
        sources.read(tmp_path / "bad.wav", MELS)


def table(path, rows):
    pytest.importorskip("pyarrow")
    path.write_text("id,time,a,b\n" + "".join(f"{','.join(map(str, row))}\n" for row in rows))
    return path


ROWS = [("one", t, 0.5 * t, -t) for t in range(3)] + [("two", t, 2.5 + t, "" if t == 1 else t) for t in range(4)]


def test_a_table_is_a_clip_for_each_series(tmp_path):
    path = table(tmp_path / "t.csv", ROWS)
    assert sources.count(path, SERIES) == 2
    found = sources.read(path, SERIES)
    assert found.x.shape == (2, 4, 2)
    assert found.lengths.tolist() == [3, 4]
    assert found.x[0, :3].tolist() == [[0.0, 0.0], [0.5, -1.0], [1.0, -2.0]]
    assert found.mask[1].tolist() == [[0, 0], [0, 1], [0, 0], [0, 0]]
    assert [item.key for item in read_job(tmp_path, form=SERIES).items] == ["t/0", "t/1"]
    windowed = Clips(modality="series", frames=3, channels=2, size=None)
    assert sources.read(path, windowed).x.shape == (2, 3, 2)


def test_tables_that_cannot_be_used_say_why(tmp_path):
    path = table(tmp_path / "t.csv", ROWS)
    three = Clips(modality="series", frames=None, channels=3, size=None)
    with pytest.raises(InputError, match=r"has 2 columns of numbers \(a, b\), expected the model's 3"):
        sources.read(path, three)
    odd = table(tmp_path / "odd.csv", [*ROWS, ("two", 4, "oops", 1.0)])
    with pytest.raises(InputError, match="line 9: column 'a' holds 'oops'"):
        sources.read(odd, SERIES)
    assert sources.count(tmp_path / "none.csv", SERIES) is None
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match="is empty"):
        sources.read(tmp_path / "empty.csv", SERIES)


def test_a_folder_is_searched_for_what_the_model_sees(tmp_path):
    tone(tmp_path / "a.wav")
    np.save(tmp_path / "x.npy", np.zeros((5, 80), np.float32))
    (tmp_path / "index.csv").write_text("name\na.wav\n")
    assert [item.key for item in read_job(tmp_path, form=MELS).items] == ["a", "x"]
    assert [item.key for item in read_job(tmp_path).items] == ["a", "index", "x"]


def test_a_job_of_tables_runs_and_bad_ones_fail_alone(tmp_path):
    pytest.importorskip("pyarrow")
    job = tmp_path / "job"
    job.mkdir()
    (job / "good.csv").write_text("a,b,c\n" + "".join(f"{t},{t / 2},{-t}\n" for t in range(5)))
    (job / "bad.csv").write_text("a,b,c\n1,2\n")
    runner = session(RECIPE.replace(clips={"modality": "series", "frames": None}))
    summary = infer(job, tmp_path / "out", "encode", runner)
    assert (summary.done, list(summary.failed)) == (1, ["bad"])
    assert [line["key"] for line in lines(tmp_path / "out")] == ["good"]


def test_a_missing_decoder_stops_the_job(tmp_path, monkeypatch):
    tone(tmp_path / "a.wav")

    def missing():
        raise MissingPackage("reading sound needs soundfile: pip install 'diffsda[audio]'")

    monkeypatch.setattr("diffsda.data.audio.waves.soundfile", missing)
    with pytest.raises(MissingPackage, match=r"diffsda\[audio\]"):
        sources.read(tmp_path / "a.wav", MELS)
