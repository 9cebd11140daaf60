"""Sound files of every kind are read as they were written; broken ones are refused in one line."""

import sys

import numpy as np
import pytest
import soundfile

from diffsda.data.audio.waves import read_wave
from diffsda.errors import InputError, MissingPackage


def sound(count=4000, seed=0):
    return (np.random.default_rng(seed).normal(size=count) * 3000).clip(-32768, 32767).astype(np.int16)


@pytest.mark.parametrize(("name", "subtype"), [("a.wav", "PCM_16"), ("a.flac", "PCM_16"), ("a.aiff", "PCM_16")])
def test_sixteen_bits_come_back_exactly(tmp_path, name, subtype):
    soundfile.write(tmp_path / name, sound(), 16000, subtype=subtype)
    samples, rate = read_wave(tmp_path / name)
    assert rate == 16000
    assert samples.dtype == np.float32
    assert np.array_equal(samples, sound() / np.float32(32768))


@pytest.mark.parametrize("name", ["a.flac", "a.wav"])
def test_24_bits_and_floats(tmp_path, name):
    x = np.linspace(-0.9, 0.9, 1000)
    soundfile.write(tmp_path / name, x, 44100, subtype="PCM_24")
    samples, rate = read_wave(tmp_path / name)
    assert rate == 44100
    assert np.abs(samples - x).max() < 2**-23


def test_ogg_is_nearly_what_was_written(tmp_path):
    tone = np.sin(2 * np.pi * 440 * np.arange(22050) / 22050) * 0.5
    soundfile.write(tmp_path / "a.ogg", tone, 22050)
    samples, rate = read_wave(tmp_path / "a.ogg")
    assert rate == 22050
    assert np.corrcoef(samples, tone)[0, 1] > 0.999


def test_the_content_says_what_it_is_not_the_name(tmp_path):
    soundfile.write(tmp_path / "a.flac", sound(), 8000)
    (tmp_path / "a.flac").rename(tmp_path / "a.wav")
    assert np.array_equal(read_wave(tmp_path / "a.wav")[0], sound() / np.float32(32768))


def test_channels_are_averaged(tmp_path):
    both = np.stack([sound(seed=1), sound(seed=2)], 1)
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, both, 16000)
        assert np.allclose(read_wave(tmp_path / name)[0], both.mean(1) / 32768, atol=1e-6)


def damaged(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4] = b"\x55\xaa\x55\xaa"
    path.write_bytes(data)


def test_a_damaged_flac_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.flac", sound(), 16000)
    damaged(tmp_path / "a.flac")
    with pytest.raises(InputError, match=r"a\.flac: .*(damaged|truncated)"):
        read_wave(tmp_path / "a.flac")


def test_a_flac_whose_digest_is_another_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.flac", sound(), 16000)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[30] ^= 1
    (tmp_path / "a.flac").write_bytes(data)
    with pytest.raises(InputError, match=r"own digest"):
        read_wave(tmp_path / "a.flac")
    data[26:42] = bytes(16)
    (tmp_path / "a.flac").write_bytes(data)
    assert len(read_wave(tmp_path / "a.flac")[0]) == 4000, "a file without a digest has nothing to disagree with"


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.97])
def test_truncated_files_are_refused(tmp_path, name, share):
    soundfile.write(tmp_path / name, sound(), 16000)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: max(1, int(share * len(data)))])
    with pytest.raises(InputError, match=rf"{name}: ") as caught:
        read_wave(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_wav_written_through_a_pipe_has_no_size_and_is_read(tmp_path, size):
    soundfile.write(tmp_path / "a.wav", sound(), 16000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[4:8] = size.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(data)
    assert len(read_wave(tmp_path / "a.wav")[0]) == 4000


def test_values_that_are_not_finite_are_counted(tmp_path):
    x = np.zeros(100, np.float32)
    x[[17, 40]] = np.nan, np.inf
    soundfile.write(tmp_path / "a.wav", x, 16000, subtype="FLOAT")
    with pytest.raises(InputError, match="sample 17 that is not finite, 2 in all"):
        read_wave(tmp_path / "a.wav")


def test_what_is_no_sound_is_refused(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"just words, no sound at all")
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    for name, words in (("a", "cannot be read as sound"), ("empty", "is empty"), ("none", "no samples")):
        with pytest.raises(InputError, match=words):
            read_wave(tmp_path / f"{name}.wav")
    with pytest.raises(InputError, match="No such file"):
        read_wave(tmp_path / "gone.wav")
    with pytest.raises(InputError, match="cannot be read"):
        read_wave(tmp_path)


def test_without_soundfile_the_pip_line_is_named(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", sound(), 16000)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingPackage, match=r"pip install 'diffsda\[audio\]'"):
        read_wave(tmp_path / "a.wav")
