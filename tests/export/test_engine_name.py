"""Engines say in their names what they are for; those that do not fit are refused by name."""

import json

import pytest
from plain_manifest import describe

from diffsda.errors import CheckpointError, InputError
from diffsda.export.engine_name import (
    EngineName,
    Here,
    Tile,
    beside,
    check_engine,
    description,
    find_engine,
    graph_of,
)
from diffsda.export.manifest import sha256

HERE = Here("sm90", "trt11.4.0.106")
DIGEST = "0123456789ab" + 52 * "0"


def planted(folder, *, compatible=False, digest=DIGEST, content=b"engine", **other):
    """Write an engine with its description."""
    parts = {"graph": "network", "tile": "4x10", "precision": "bf16", "architecture": "sm90", "library": HERE.library}
    path = folder / str(EngineName(**{**parts, **other, "digest": digest[:12]}))
    folder.mkdir(exist_ok=True)
    path.write_bytes(content)
    about = {
        "format": 1,
        "name": path.name,
        "engine": {"bytes": len(content), "sha256": sha256(path)},
        "onnx": digest,
        "options": {"version_compatible": compatible},
        "tile": {"clips": 4},
        "inputs": {},
        "outputs": {},
    }
    beside(path, "json").write_text(json.dumps(about))
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "network.onnx").write_bytes(b"onnx")
    describe(tmp_path, {"network": ({}, {})})
    return tmp_path


def test_a_name_is_read_back():
    name = EngineName("noise_table", "32", "float32", "sm120", "rtx1.7.1.116", "0123456789ab")
    assert str(name) == "noise_table-32-float32-sm120-rtx1.7.1.116-0123456789ab.engine"
    assert EngineName.parse(str(name)) == name
    assert EngineName.parse("network-4x10-bf16-any-trt10.16.1.post1-0123456789ab.engine").library == "trt10.16.1.post1"
    for other in ("model.engine", str(name)[:-1], str(name).replace("float32", "int8"), "x" + str(name) + ".json"):
        assert EngineName.parse(other) is None


def test_a_tile_gives_axes_their_lengths():
    tile = Tile(4, 10, 32)
    assert [tile.size(a) for a in ("clips", "length", "frames", "levels", "s77", None)] == [4, 10, 40, 32, None, None]
    assert (tile.label("denoise"), tile.label("noise_table")) == ("4x10", "32")
    assert Tile(1, 10).size("levels") is None
    for bad in ((0, 10), (1, -1), (1.0, 10), (True, 10), (1, 10, 0)):
        with pytest.raises(InputError, match=r"of a tile: got .*, expected a whole number"):
            Tile(*bad)


def test_a_whole_engine_that_fits_is_taken(tmp_path):
    path = planted(tmp_path)
    assert check_engine(path, HERE, DIGEST)["name"] == path.name
    assert check_engine(planted(tmp_path, architecture="any"), Here(None, HERE.library), DIGEST)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"architecture": "sm80"}, "was built for sm80, got a GPU of sm90 here; build it again with --rebuild"),
        ({"library": "trt10.16.1.11"}, "was built by trt10.16.1.11, got trt11.4.0.106 here; build it again"),
        ({"library": "rtx11.4.0.106"}, "was built by rtx11.4.0.106"),
        ({"digest": 64 * "f"}, "is stale, built from an ONNX file ffffffffffff, got 0123456789ab now; build it again"),
    ],
)
def test_foreign_and_stale_engines_are_refused_by_name(tmp_path, other, said):
    path = planted(tmp_path, **other)
    with pytest.raises(InputError) as caught:
        check_engine(path, HERE, DIGEST)
    assert str(caught.value).startswith(path.name)
    assert said in str(caught.value)


def test_no_gpu_is_said(tmp_path):
    with pytest.raises(InputError, match="was built for sm90, got no GPU here"):
        check_engine(planted(tmp_path), Here(None, HERE.library))


def test_a_version_compatible_engine_goes_with_later_versions_of_its_major(tmp_path):
    older = planted(tmp_path, library="trt11.2.0.9", compatible=True)
    assert check_engine(older, HERE)
    for library in ("trt11.5.0.1", "trt10.16.1.11", "rtx11.2.0.9"):
        with pytest.raises(InputError, match="was built by"):
            check_engine(planted(tmp_path, library=library, compatible=True), HERE)
    with pytest.raises(InputError, match="was built by"):
        check_engine(planted(tmp_path, library="trt11.2.0.9"), HERE)


def test_truncated_and_damaged_engines_are_refused(tmp_path):
    path = planted(tmp_path)
    path.write_bytes(b"engi")
    with pytest.raises(InputError, match=r"got 4 bytes, expected 6 \(truncated\?\); build it again with --rebuild"):
        description(path)
    path.write_bytes(b"Engine")
    with pytest.raises(InputError, match="its bytes are not those that were built"):
        description(path)
    path.unlink()
    with pytest.raises(InputError, match="there is no such engine"):
        description(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", '{"engine": 1}', "[" * 100_000])
def test_a_damaged_description_is_refused(tmp_path, text):
    path = planted(tmp_path)
    beside(path, "json").write_text(text)
    with pytest.raises(InputError, match=r"its description .*\.json is damaged; build it again"):
        description(path)


def test_a_description_of_another_engine_or_none_is_refused(tmp_path):
    path = planted(tmp_path)
    text = beside(path, "json").read_text()
    beside(path, "json").write_text(text.replace("bf16", "fp16"))
    with pytest.raises(InputError, match="is of another engine"):
        description(path)
    beside(path, "json").write_text(text.replace('"format": 1', '"format": 2'))
    with pytest.raises(InputError, match="or version of this program"):
        description(path)
    beside(path, "json").unlink()
    with pytest.raises(InputError, match="has no description"):
        description(path)
    other = tmp_path / "model.engine"
    other.write_bytes(b"")
    with pytest.raises(InputError, match="a file of another kind"):
        description(other)


def test_the_engine_that_fits_is_found_among_others(folder):
    _, digest = graph_of(folder, "network")
    tile = Tile(4, 10)
    place = folder / "engines"
    with pytest.raises(InputError, match="has no engine of network for a tile of 4x10; build it"):
        find_engine(folder, "network", tile, HERE)
    stale = planted(place)
    foreign = planted(place, digest=digest, architecture="sm80")
    planted(place, digest=digest, tile="1x10")
    with pytest.raises(InputError) as caught:
        find_engine(folder, "network", tile, HERE)
    assert stale.name in str(caught.value)
    assert foreign.name in str(caught.value)
    assert "1x10" not in str(caught.value)
    good = planted(place, digest=digest)
    assert find_engine(folder, "network", tile, HERE) == good
    half = planted(place, digest=digest, precision="fp16")
    assert find_engine(folder, "network", tile, HERE, precision="fp16") == half
    assert find_engine(folder, "network", tile, HERE, engines=place) == good
    with pytest.raises(InputError, match="precision: got 'int8'"):
        find_engine(folder, "network", tile, HERE, precision="int8")


def test_the_digest_covers_weights_in_files_of_their_own(folder):
    found = [graph_of(folder, "network")]
    for content in (b"1", b"2"):
        (folder / "network.onnx.data").write_bytes(content)
        describe(folder, {"network": ({}, {})})
        found.append(graph_of(folder, "network"))
    assert {path for path, _ in found} == {folder / "network.onnx"}
    assert len({digest for _, digest in found}) == 3


def test_folders_that_are_not_exported_models_are_refused(tmp_path, folder):
    with pytest.raises(InputError, match="got no graph 'denoise', expected one of network"):
        graph_of(folder, "denoise")
    with pytest.raises(InputError, match=r"got no export\.json, expected a folder made by"):
        graph_of(tmp_path / "none", "network")
    (folder / "network.onnx").write_bytes(b"other")
    with pytest.raises(CheckpointError, match=r"network\.onnx: is not the file that export\.json names"):
        graph_of(folder, "network")
