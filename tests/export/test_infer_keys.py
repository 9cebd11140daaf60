"""Keys become seeds and file names: the same ones everywhere, and no key gets in another's way."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsda.export.infer import file_name, seed_of

AWKWARD = [
    "a/b",
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "a\\b",
    "C:\\x",
    "con",
    "nul.txt",
    " ",
    "a\nb",
    "é",
    "日本",
]
AWKWARD += ["\ud800", "x" * 10_000, "🎬/1", "-rf", "~", "$HOME", "a:b*?", "\u202eabc", "clip.npz"]


@pytest.mark.parametrize("key", AWKWARD)
def test_a_name_is_a_plain_name(key, tmp_path):
    name = file_name(key)
    assert len(name) <= 80
    assert name.isascii()
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")
    assert name[0].isalnum()
    assert name.endswith(".npz")
    assert name.count(".") == 1
    (tmp_path / name).write_bytes(b"")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_keys_that_look_alike_have_names_that_differ_without_case():
    keys = [
        "clip",
        "Clip",
        "CLIP",
        "clip ",
        "clip/",
        "cl/ip",
        "cl-ip",
        *AWKWARD,
        "é",
        unicodedata.normalize("NFD", "é"),
    ]
    keys += ["x" * 9_999, "x" * 10_001]
    keys = list(dict.fromkeys(keys))
    assert len({file_name(key).lower() for key in keys}) == len(keys)


@given(st.text(), st.text(), st.integers(0, 2**62 - 1))
def test_any_text_is_a_key(one, other, seed):
    assert (file_name(one).lower() == file_name(other).lower()) == (one == other)
    assert (seed_of(one, seed) == seed_of(other, seed)) == (one == other)
    assert 0 <= seed_of(one, seed) < 2**63
    assert seed_of(one, seed) != seed_of(one, seed + 1)


def test_seed_and_key_do_not_run_together():
    assert seed_of("2x", 1) != seed_of("x", 12)


def test_names_and_seeds_stay_what_they_are():
    """Results of older versions must be found again, and be the same."""
    assert file_name("speaker 1/a.b") == "speaker-1-a-b-4ca86c9a59bf4db1018f93051ce84723.npz"
    assert seed_of("speaker 1/a.b", 7) == 6763489332114128479
