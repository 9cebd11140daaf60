"""SPHERE headers are parsed field by field; compressed, cut and damaged files are refused by name."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsda.data.audio.sphere import alaw, parse_header, read_sphere, ulaw
from diffsda.data.audio.waves import read_wave
from diffsda.errors import InputError

TIMIT = {
    "database_id": "-s5 TIMIT",
    "utterance_id": "-s8 cjf0_sa1",
    "channel_count": "-i 1",
    "sample_count": "-i 3000",
    "sample_rate": "-i 16000",
    "sample_n_bytes": "-i 2",
    "sample_byte_format": "-s2 01",
    "sample_sig_bits": "-i 16",
}


def sphere(body, fields=TIMIT, size=1024, end="end_head\n"):
    lines = "".join(f"{name} {value}\n" for name, value in fields.items())
    head = f"NIST_1A\n{size:7d}\n{lines}{end}".encode()
    return head.ljust(size) + body


def sound(count=3000):
    return (np.random.default_rng(0).normal(size=count) * 3000).astype(np.int16)


@pytest.mark.parametrize(("order", "kind"), [("01", "<i2"), ("10", ">i2")])
def test_timits_own_files_are_read(tmp_path, order, kind):
    path = tmp_path / "SA1.WAV"
    path.write_bytes(sphere(sound().astype(kind).tobytes(), TIMIT | {"sample_byte_format": f"-s2 {order}"}))
    samples, rate = read_wave(path)
    assert rate == 16000
    assert np.array_equal(samples, sound() / np.float32(32768))


def test_our_reader_and_libsndfile_agree(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, sound(), 16000, format="NIST", subtype="PCM_16")
    theirs, rate = soundfile.read(path, dtype="float32")
    ours, our_rate = read_sphere(path)
    assert rate == our_rate
    assert np.array_equal(ours[0], theirs)


@pytest.mark.parametrize(("law", "subtype"), [(ulaw, "ULAW"), (alaw, "ALAW")])
def test_all_codes_of_both_laws(law, subtype):
    codes = np.arange(256, dtype=np.uint8)
    raw = io.BytesIO(codes.tobytes())
    theirs, _ = soundfile.read(
        raw, dtype="int16", format="RAW", channels=1, samplerate=8000, subtype=subtype, endian="FILE"
    )
    assert np.array_equal(law(codes), theirs)


def test_a_law_in_a_file(tmp_path):
    codes = np.arange(256, dtype=np.uint8)
    fields = {"sample_coding": "-s4 ulaw", "sample_rate": "-i 8000", "sample_n_bytes": "-i 1"}
    (tmp_path / "a.sph").write_bytes(sphere(codes.tobytes(), fields))
    samples, rate = read_wave(tmp_path / "a.sph")
    assert rate == 8000
    assert np.array_equal(samples, ulaw(codes) / np.float32(32768))


def test_two_channels(tmp_path):
    both = np.stack([np.arange(100), -np.arange(100)], 1).astype("<i2")
    fields = TIMIT | {"channel_count": "-i 2", "sample_count": "-i 100"}
    (tmp_path / "a.sph").write_bytes(sphere(both.tobytes(), fields))
    samples, _ = read_sphere(tmp_path / "a.sph")
    assert samples.shape == (2, 100)
    assert np.array_equal(samples[0], np.arange(100) / np.float32(32768))
    assert not read_wave(tmp_path / "a.sph")[0].any()


@pytest.mark.parametrize("packer", ["shorten-v2.00", "wavpack", "shortpack-v0"])
def test_compressed_files_are_refused_by_name(tmp_path, packer):
    fields = TIMIT | {"sample_coding": f"-s26 pcm,embedded-{packer}"}
    (tmp_path / "a.sph").write_bytes(sphere(b"ajkg" + bytes(100), fields))
    with pytest.raises(InputError, match=rf"compressed with {packer.split('-')[0]} .*sph2pipe"):
        read_wave(tmp_path / "a.sph")


def test_a_checksum_is_kept_to(tmp_path):
    total = int(sound().astype(np.int64).sum()) % 65536
    body = sound().astype("<i2").tobytes()
    (tmp_path / "a.sph").write_bytes(sphere(body, TIMIT | {"sample_checksum": f"-i {total}"}))
    assert len(read_wave(tmp_path / "a.sph")[0]) == 3000
    (tmp_path / "a.sph").write_bytes(sphere(body, TIMIT | {"sample_checksum": f"-i {(total + 1) % 65536}"}))
    with pytest.raises(InputError, match=f"sum to {total}"):
        read_wave(tmp_path / "a.sph")


def test_a_cut_file_says_how_much_is_there(tmp_path):
    (tmp_path / "a.sph").write_bytes(sphere(sound(2000).astype("<i2").tobytes()))
    with pytest.raises(InputError, match=r"a\.sph: got 2000 samples, expected 3000"):
        read_wave(tmp_path / "a.sph")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sample_rate": "-i 0"}, "sample_rate 0, expected 1 to"),
        ({"sample_rate": "-i fast"}, "sample_rate 'fast', expected a number"),
        ({"sample_rate": "-s5 16000"}, "expected a whole number"),
        ({"channel_count": "-i -2"}, "channel_count -2"),
        ({"channel_count": "-i 99999"}, "channel_count 99999, expected 1 to 256"),
        ({"sample_n_bytes": "-i 3"}, "3 bytes a sample of pcm"),
        ({"sample_byte_format": "-s4 0123"}, "sample_byte_format '0123'"),
        ({"sample_coding": "-s5 gsm61"}, "sample_coding 'gsm61'"),
        ({"sample_rate": "16000"}, "expected a name, a type and a value"),
    ],
)
def test_headers_that_will_not_do(change, words):
    with pytest.raises(InputError, match=words):
        parse_header(sphere(b"", TIMIT | change))


def test_headers_without_an_end_or_a_size():
    with pytest.raises(InputError, match="end_head"):
        parse_header(sphere(b"", end=""))
    with pytest.raises(InputError, match="expected a SPHERE file"):
        parse_header(b"RIFF....WAVE")
    with pytest.raises(InputError, match="header of"):
        parse_header(b"NIST_1A\n   what\nend_head\n")
    with pytest.raises(InputError, match="got no sample_rate"):
        parse_header(sphere(b"", {k: v for k, v in TIMIT.items() if k != "sample_rate"}))
    assert parse_header(sphere(b"", {"; a comment": ""} | TIMIT)).samples == 3000


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300), st.integers(0, 1100), st.integers(0, 255))
def test_no_bytes_make_it_fail_in_another_way(extra, place, byte):
    data = bytearray(sphere(sound(50).astype("<i2").tobytes(), TIMIT | {"sample_count": "-i 50"}))
    data[min(place, len(data) - 1)] = byte
    for broken in (bytes(data), b"NIST_1A\n   1024\n" + extra, bytes(data[:place]) + extra):
        said = "a header"
        try:
            header = parse_header(broken)
            assert header.rate >= 1
            assert header.size <= len(broken)
        except InputError as error:
            said = str(error)
        assert said
        assert "\n" not in said
