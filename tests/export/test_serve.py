"""A model repository is what the inference server's own schema describes, and appears whole or not at all."""

import pytest
from engine_standin import ENCODER, NETWORK, exported, standin
from plain_manifest import describe

from diffsda.errors import CheckpointError, InputError, SaveError
from diffsda.export import engine_name, engine_plan, serve
from diffsda.export.engine import build_engine
from diffsda.export.engine_name import Here, Tile
from diffsda.export.manifest import Port
from diffsda.export.serve import Serving, Signature, config, write_repository

FRAME = ["frames", 3, 8, 8]
ROWS = {"x": FRAME, "sigma": ["frames"], "static": ["frames", 4], "dynamic": ["frames", 2]}
CLIP = ["clips", "length"]
GRAPHS = {
    "encoder": ({"x": [*CLIP, 3, 8, 8]}, {"static": ["clips", 4], "dynamic": [*CLIP, 2]}),
    "denoise": (ROWS, {"denoised": FRAME}),
}


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "model"
    place.mkdir()
    for name in GRAPHS:
        (place / f"{name}.onnx").write_bytes(name.encode())
    describe(place, GRAPHS)
    return place


def parsed(path):
    """Parse a config.pbtxt by the server's schema; unknown fields and values are errors there."""
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="pip install 'tritonclient[grpc]'")
    from google.protobuf import text_format

    return text_format.Parse(path.read_text(), schema.ModelConfig())


def ports(group):
    return [(p.name, p.data_type, list(p.dims), p.HasField("reshape")) for p in group]


def test_onnx_files_are_served_in_batches(folder, tmp_path):
    repository = tmp_path / "repository"
    serving = Serving(clips=8, frames=80, delay=250, instances=2, device="gpu", gpus=(0, 1))
    made = write_repository(folder, repository, name="shapes", serving=serving)
    assert [m.name for m in made] == ["shapes_encoder", "shapes_denoise"]
    found = sorted(str(p.relative_to(repository)) for p in repository.rglob("*") if p.is_file())
    assert found == [f"shapes_{g}/{f}" for g in ("denoise", "encoder") for f in ("1/model.onnx", "config.pbtxt")]
    for model, source in zip(made, ("encoder", "denoise")):
        assert (model / "1" / "model.onnx").read_bytes() == (folder / f"{source}.onnx").read_bytes()
    encoder, denoise = (parsed(model / "config.pbtxt") for model in made)
    fp32 = 11  # TYPE_FP32
    assert (encoder.name, encoder.backend, encoder.max_batch_size) == ("shapes_encoder", "onnxruntime", 8)
    assert ports(encoder.input) == [("x", fp32, [-1, 3, 8, 8], False)]
    assert ports(encoder.output) == [("static", fp32, [4], False), ("dynamic", fp32, [-1, 2], False)]
    assert (denoise.name, denoise.max_batch_size) == ("shapes_denoise", 80)
    expected = [("x", fp32, [3, 8, 8], False), ("sigma", fp32, [1], True), ("static", fp32, [4], False)]
    assert ports(denoise.input) == [*expected, ("dynamic", fp32, [2], False)]
    assert list(denoise.input[1].reshape.shape) == []  # One number a row travels as (rows, 1).
    for each in (encoder, denoise):
        assert each.HasField("dynamic_batching")
        assert each.dynamic_batching.max_queue_delay_microseconds == 250
        group = each.instance_group[0]
        assert (group.count, group.kind, list(group.gpus)) == (2, 1, [0, 1])  # 1 is KIND_GPU


def test_the_server_chooses_the_device_unless_told(folder, tmp_path):
    model = write_repository(folder, tmp_path / "repository", graphs=["encoder"])[0]
    assert parsed(model / "config.pbtxt").instance_group[0].kind == 0  # KIND_AUTO
    model = write_repository(folder, tmp_path / "other", graphs=["encoder"], serving=Serving(device="cpu"))[0]
    assert parsed(model / "config.pbtxt").instance_group[0].kind == 2  # KIND_CPU


def test_the_schema_refuses_what_is_not_of_it(tmp_path):
    """The tests above could fail."""
    from google.protobuf import text_format

    text = config("m", "onnxruntime", Signature((Port("x", ("rows", 1), "float32"),), ()), Serving(), 4)
    for wrong in (text.replace("max_batch_size", "batch_size"), text.replace("TYPE_FP32", "FP32"), text[:-2]):
        (tmp_path / "config.pbtxt").write_text(wrong)
        with pytest.raises(text_format.ParseError):
            parsed(tmp_path / "config.pbtxt")


def test_names_are_written_so_that_the_schema_reads_them_back(tmp_path):
    odd = 'a "b" \\ c\nd é'
    text = config("m", "onnxruntime", Signature((Port(odd, ("rows",), "float32"),), ()), Serving(), 4)
    (tmp_path / "config.pbtxt").write_text(text, encoding="utf-8")
    assert parsed(tmp_path / "config.pbtxt").input[0].name == odd


def test_a_first_axis_that_is_fixed_makes_no_batches(folder, tmp_path):
    describe(folder, {"denoise": ({**ROWS, "x": [4, 3, 8, 8]}, {"denoised": [4, 3, 8, 8]})})
    found = parsed(write_repository(folder, tmp_path / "repository", graphs=["denoise"])[0] / "config.pbtxt")
    assert found.max_batch_size == 0
    assert not found.HasField("dynamic_batching")
    assert [list(p.dims) for p in found.input] == [[4, 3, 8, 8], [-1], [-1, 4], [-1, 2]]
    assert not found.input[1].HasField("reshape")


def test_weights_in_a_file_of_their_own_come_along(folder, tmp_path):
    (folder / "denoise.onnx.data").write_bytes(b"weights")
    describe(folder, GRAPHS)
    made = write_repository(folder, tmp_path / "repository")
    assert (made[1] / "1" / "denoise.onnx.data").read_bytes() == b"weights"
    assert sorted(p.name for p in (made[0] / "1").iterdir()) == ["model.onnx"]
    (folder / "denoise.onnx.data").unlink()
    with pytest.raises(CheckpointError, match=r"denoise\.onnx\.data: is missing"):
        write_repository(folder, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_bf16_is_refused_for_the_cpu(folder, tmp_path):
    describe(folder, GRAPHS, precision="bf16")
    with pytest.raises(InputError, match="diffsda_encoder: got bf16 for device cpu"):
        write_repository(folder, tmp_path / "repository", serving=Serving(device="cpu"))
    assert len(write_repository(folder, tmp_path / "repository", serving=Serving(device="gpu"))) == 2


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Return an exported folder with engines of TensorRT for sm90, and where they fit."""
    for module in (engine_plan, engine_name):
        monkeypatch.setattr(module, "device_architecture", lambda: "sm90")
    place = exported(tmp_path / "served", encoder=ENCODER, denoise=NETWORK)
    library = standin()[0]
    for name in ("encoder", "denoise"):
        build_engine(place, name, Tile(4, 10), library=library)
    return place, Here.of(library)


def test_engines_are_served_at_their_tile(served, tmp_path):
    folder, here = served
    made = write_repository(folder, tmp_path / "repository", backend="tensorrt", tile=Tile(4, 10), here=here)
    found = parsed(made[1] / "config.pbtxt")
    assert (found.backend, found.max_batch_size) == ("tensorrt", 0)
    assert [(p.name, list(p.dims)) for p in found.input] == [
        ("x", [40, 3, 8, 8]),
        ("scale", [40, 8]),
        ("shift", [40, 8]),
    ]
    assert not found.HasField("dynamic_batching")
    engine = next((folder / "engines").glob("denoise-*.engine"))
    assert (made[1] / "1" / "model.plan").read_bytes() == engine.read_bytes()


def test_engines_that_do_not_fit_the_server_are_refused(served, tmp_path):
    folder, here = served
    tensorrt = {"backend": "tensorrt", "here": here}
    where = tmp_path / "repository"
    with pytest.raises(InputError, match="tile: got none"):
        write_repository(folder, where, **tensorrt)
    with pytest.raises(InputError, match="has no engine of encoder for a tile of 16x10; build it"):
        write_repository(folder, where, tile=Tile(16, 10), **tensorrt)
    with pytest.raises(InputError, match="was built for sm90, got a GPU of sm80 here"):
        write_repository(folder, where, backend="tensorrt", tile=Tile(4, 10), here=Here("sm80", here.library))
    with pytest.raises(InputError, match=r"got engines of rtx1\.7 for tensorrt, expected those of TensorRT"):
        write_repository(folder, where, backend="tensorrt", tile=Tile(4, 10), here=Here("sm90", "rtx1.7"))
    with pytest.raises(InputError, match="got cpu for backend tensorrt"):
        write_repository(folder, where, tile=Tile(4, 10), serving=Serving(device="cpu"), **tensorrt)
    exported(folder, encoder={**ENCODER, "new": 1}, denoise=NETWORK)
    with pytest.raises(InputError, match=r"encoder-.*: is stale"):
        write_repository(folder, where, tile=Tile(4, 10), **tensorrt)
    assert not where.exists()


def test_a_repository_that_exists_is_left_alone(folder, tmp_path):
    full, empty, file = tmp_path / "full", tmp_path / "empty", tmp_path / "file"
    full.mkdir()
    empty.mkdir()
    (full / "theirs").write_bytes(b"theirs")
    file.write_bytes(b"")
    for there in (full, file):
        with pytest.raises(InputError, match="exists, expected a new name"):
            write_repository(folder, there)
    assert [p.name for p in full.iterdir()] == ["theirs"]
    assert len(write_repository(folder, empty)) == 2
    with pytest.raises(InputError, match="there is no folder"):
        write_repository(folder, tmp_path / "none" / "repository")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"name": "a/b"}, "name: got 'a/b'"),
        ({"name": ".hidden"}, "name: got '.hidden'"),
        ({"backend": "torch"}, "backend: got 'torch', expected onnxruntime or tensorrt"),
        ({"graphs": []}, "expected names, each once"),
        ({"graphs": ["encoder", "encoder"]}, "expected names, each once"),
        ({"graphs": ["sampler"]}, "got no graph 'sampler', expected one of encoder, denoise"),
    ],
)
def test_requests_that_cannot_be_served_are_refused(folder, tmp_path, asked, said):
    with pytest.raises(InputError) as caught:
        write_repository(folder, tmp_path / "repository", **asked)
    assert said in str(caught.value)
    assert not (tmp_path / "repository").exists()


@pytest.mark.parametrize(
    "bad", [{"clips": 0}, {"frames": 1.5}, {"delay": -1}, {"device": "tpu"}, {"gpus": (0,)}, {"instances": True}]
)
def test_settings_that_cannot_be_are_refused(bad):
    with pytest.raises(InputError, match=f"{next(iter(bad))}: got "):
        Serving(**bad)
    with pytest.raises(InputError, match="expected numbers of GPUs"):
        Serving(device="gpu", gpus=(-1,))


def test_folders_that_are_not_exported_models_are_refused(folder, tmp_path):
    (folder / "encoder.onnx").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"encoder\.onnx: is not the file"):
        write_repository(folder, tmp_path / "repository")
    (folder / "export.json").unlink()
    for place in (folder, tmp_path / "none"):
        with pytest.raises(InputError, match=r"got no export\.json, expected a folder made by"):
            write_repository(place, tmp_path / "repository")


def test_types_that_the_schema_has_not_are_refused(folder, tmp_path):
    text = (folder / "export.json").read_text().replace('"float32"', '"complex64"')
    (folder / "export.json").write_text(text)
    with pytest.raises(InputError, match="x: got the type complex64, expected one of float32"):
        write_repository(folder, tmp_path / "repository")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_full_disk_leaves_nothing(folder, tmp_path, monkeypatch):
    copied = []

    def full(source, target):
        if copied:
            raise OSError(28, "No space left on device")
        copied.append(target.write_bytes(source.read_bytes()))

    monkeypatch.setattr(serve.shutil, "copyfile", full)
    with pytest.raises(SaveError, match=r"repository: could not be written \(No space left"):
        write_repository(folder, tmp_path / "repository")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.slow
def test_what_torch_exports_is_served(tmp_path):
    pytest.importorskip("onnxscript")
    from tiny_graphs import written

    made = write_repository(written(tmp_path / "model"), tmp_path / "repository")
    encoder, denoise = (parsed(model / "config.pbtxt") for model in made)
    assert [list(p.dims) for p in encoder.output] == [[4], [-1, 2]]
    assert [list(p.dims) for p in denoise.input] == [[3, 16, 16], [1], [4], [4]]
    assert (encoder.max_batch_size, denoise.max_batch_size) == (16, 160)
