"""TensorRT-RTX parses and builds what is exported, without a GPU: the real parser, the real builder."""

import pytest
from plain_manifest import describe
from tiny_graphs import written

from diffsda.errors import DiffSDAError, InputError
from diffsda.export.engine import BuildOptions, build_engine, build_engines
from diffsda.export.engine_name import EngineName, Here, Tile, beside, description, find_engine
from diffsda.export.engine_runner import EngineRunner
from diffsda.export.tensorrt import NAMES, RTX_NAMES, load

pytestmark = pytest.mark.slow
pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx")
pytest.importorskip("onnxscript")

NORMS = {"network": 2, "denoise": 2, "encoder": 1}


@pytest.fixture(scope="module")
def library():
    return load("tensorrt_rtx")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return an exported folder for each precision."""
    place = tmp_path_factory.mktemp("exported")
    return {precision: written(place / precision, precision) for precision in ("float32", "fp16", "bf16")}


@pytest.mark.parametrize("precision", ["float32", "fp16", "bf16"])
def test_every_graph_and_tile_builds_with_native_norms(folders, library, precision):
    folder = folders[precision]
    steps = []
    built = build_engines(folder, library=library, progress=lambda *step: steps.append(step))
    assert len(built) == 9
    for each in built:
        name, about = EngineName.parse(each.path.name), description(each.path)
        assert (name.precision, name.library, name.architecture) == (precision, library.label, "any")
        assert each.normalizations == about["normalizations"] == NORMS[name.graph] < each.layers
        clips = about["tile"]["clips"]
        expected = [clips, 10, 3, 16, 16] if name.graph == "encoder" else [10 * clips, 3, 16, 16]
        assert about["inputs"]["x"] == expected
        assert 10_000 < each.bytes == each.path.stat().st_size
        assert each.path.read_bytes()[:4] == b"vtrt"
        assert "INFO: Engine generation completed" in beside(each.path, "log").read_text()
    encoder = description(built[0].path)
    assert encoder["outputs"] == {"static": [1, 4], "dynamic": [1, 10, 2]}
    assert ("Building engine", 0) in [step[:2] for step in steps]
    assert all(0 <= done <= most for _, done, most in steps)
    assert all(b.reused for b in build_engines(folder, library=library))
    here = Here(None, library.label)
    assert find_engine(folder, "network", Tile(16, 10), here).name == built[5].path.name


def test_one_architecture_can_be_asked_for(folders, library, tmp_path):
    for architecture in ("sm75", "sm89", "sm120"):
        options = BuildOptions(architecture=architecture, effort=0, workspace=256, tf32=True)
        built = build_engine(folders["fp16"], "network", Tile(1, 10), out=tmp_path, options=options, library=library)
        assert EngineName.parse(built.path.name).architecture == architecture


def test_a_build_that_really_fails_leaves_its_log_alone(folders, library, tmp_path):
    """A version-compatible engine needs a library that the package does not have."""
    options = BuildOptions(version_compatible=True)
    with pytest.raises(DiffSDAError, match=r"the build failed \(.*libnvinfer_lean"):
        build_engine(folders["fp16"], "network", Tile(1, 10), out=tmp_path, options=options, library=library)
    assert [p.name.endswith(".engine.failed.log") for p in tmp_path.iterdir()] == [True]


def test_stopping_really_stops_the_builder(folders, library, tmp_path):
    def stop(*_step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(folders["fp16"], "network", Tile(1, 10), out=tmp_path, progress=stop, library=library)
    assert not list(tmp_path.iterdir())


def test_the_real_parser_names_the_node_it_refuses(library, tmp_path):
    onnx = pytest.importorskip("onnx")
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["frames", 3]) for n in "xy")
    node = onnx.helper.make_node("Peculiar", ["x"], ["y"], name="the_odd_one")
    graph = onnx.helper.make_graph([node], "g", [x], [y])
    folder = tmp_path
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, folder / "network.onnx")
    describe(folder, {"network": ({}, {})})
    with pytest.raises(InputError, match=r"parser refuses it: node 'the_odd_one' \(Peculiar\)"):
        build_engine(folder, "network", Tile(1, 10), library=library)
    (folder / "network.onnx").write_bytes(b"no such thing")
    describe(folder, {"network": ({}, {})})
    with pytest.raises(InputError, match=r"parser refuses it: .*[Ff]ailed to parse"):
        build_engine(folder, "network", Tile(1, 10), library=library)
    assert not (folder / "engines").exists()


def test_without_a_driver_an_engine_is_refused_in_words(folders, library, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    path = build_engine(folders["fp16"], "network", Tile(1, 10), out=tmp_path, library=library).path
    with pytest.raises(DiffSDAError, match=f"{path.name}: TensorRT cannot read it"):
        EngineRunner(path, device=torch.device("cpu"), library=library)


@pytest.mark.parametrize(("name", "precision"), [("tiny_vector", "float32"), ("tiny_video", "bf16")])
def test_whole_models_build_with_every_norm_native(library, tmp_path, name, precision):
    """The exporter's own graphs: every GroupNormalization and LayerNormalization is one native layer."""
    import torch

    from diffsda.export import onnx
    from diffsda.model import DiffSDA
    from diffsda.presets import preset

    torch.manual_seed(0)
    held = onnx.export(DiffSDA(preset(name)), tmp_path / "model", precision=precision)
    built = build_engines(tmp_path / "model", graphs=list(held.graphs), clips=[2], frames=6, levels=9, library=library)
    for each, (graph, about) in zip(built, held.graphs.items()):
        norms = sum(about.operations.get(kind, 0) for kind in ("GroupNormalization", "LayerNormalization"))
        assert (graph, each.normalizations) == (graph, norms)
        expected = "float32" if graph.endswith("_table") else precision
        assert EngineName.parse(each.path.name).precision == expected
    assert sum(each.normalizations for each in built) > 10


def test_all_names_used_are_there(library):
    wanted = [(c, m) for names in (NAMES, RTX_NAMES) for c, members in names.items() for m in members]
    assert not [f"{c}.{m}" for c, m in wanted if not hasattr(getattr(library.trt, c, None), m)]
