"""Engines are built from exported folders, kept, refused, replaced; against a stand-in for TensorRT."""

import errno
import os

import pytest
from engine_standin import (
    ENCODER,
    NETWORK,
    BuilderFlag,
    ComputeCapability,
    MemoryPoolType,
    beyond_the_list,
    exported,
    standin,
)

from diffsda import atomic
from diffsda.errors import DiffSDAError, InputError, MissingPackage, SaveError
from diffsda.export import engine, engine_plan, tensorrt
from diffsda.export.engine import BuildOptions, build_engine, build_engines
from diffsda.export.engine_name import EngineName, Tile, beside, description, graph_of

TILE = Tile(4, 10)


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    """Make this machine one with a GPU of sm90, as far as builds ask."""
    monkeypatch.setattr(engine_plan, "device_architecture", lambda: "sm90")


@pytest.fixture
def folder(tmp_path):
    return exported(tmp_path / "model")


def names(folder):
    return sorted(path.name for path in (folder / "engines").iterdir())


def test_the_standin_promises_only_what_is_checked_against_the_bindings():
    assert not beyond_the_list(standin()[1])


def test_an_engine_comes_with_its_description_and_log(folder):
    library, seen = standin()
    built = build_engine(folder, "network", TILE, library=library)
    _, digest = graph_of(folder, "network")
    assert built.path.name == f"network-4x10-fp16-sm90-trt10.16.1.11-{digest[:12]}.engine"
    assert (built.reused, built.layers, built.normalizations) == (False, 7, 2)
    assert built.bytes == built.path.stat().st_size > 0
    about = description(built.path)
    assert about["inputs"] == {"x": [40, 3, 8, 8], "scale": [40, 8], "shift": [40, 8]}
    assert (about["precision"], about["architecture"], about["library"]) == ("fp16", "sm90", "trt10.16.1.11")
    assert (about["onnx"], about["tile"]) == (digest, {"clips": 4, "frames": 10, "levels": None})
    log = beside(built.path, "log").read_text()
    assert "INFO: layers were timed\n" in log
    assert "tactic" not in log
    assert names(folder) == [
        *(built.path.name + end for end in ("", ".json", ".log")),
        "timing-sm90-trt10.16.1.11.cache",
    ]
    assert seen.networks[0]._flags == 2  # 1 << STRONGLY_TYPED


def test_shapes_are_static_in_the_network_and_in_the_profile(folder):
    library, seen = standin()
    build_engine(folder, "encoder", TILE, library=library)
    assert seen.networks[0].get_input(0).shape == (4, 10, 3, 8, 8)
    assert seen.configs[0]._profiles == [{"x": ((4, 10, 3, 8, 8),) * 3}]


def test_what_is_asked_for_reaches_the_builder(folder):
    library, seen = standin()
    build_engine(folder, "network", TILE, library=library)
    usual = seen.configs[0]
    assert usual._flags == set()  # not even TF32, which is on by default
    assert usual._pools == {MemoryPoolType.WORKSPACE: 4096 << 20}
    assert (usual.builder_optimization_level, usual.num_compute_capabilities) == (3, 0)
    options = BuildOptions(workspace=7, refit=True, version_compatible=True, tf32=True, effort=1, verbose=True)
    built = build_engine(folder, "network", TILE, library=library, options=options, rebuild=True)
    asked = seen.configs[1]
    assert asked._flags == {BuilderFlag.REFIT, BuilderFlag.VERSION_COMPATIBLE, BuilderFlag.TF32}
    assert (asked._pools, asked.builder_optimization_level) == ({MemoryPoolType.WORKSPACE: 7 << 20}, 1)
    assert "VERBOSE: every tactic by name" in beside(built.path, "log").read_text()
    assert description(built.path)["options"]["refit"] is True


def test_a_library_without_the_flag_types_networks_strongly_anyway(folder, monkeypatch):
    library, seen = standin()
    monkeypatch.setattr(seen, "NetworkDefinitionCreationFlag", object())
    assert build_engine(folder, "network", TILE, library=library).bytes
    assert seen.networks[0]._flags == 0


@pytest.mark.parametrize(
    ("layers", "precision"),
    [
        ([["CONVOLUTION", "BF16"], ["MATRIX_MULTIPLY", "FLOAT"], ["MATRIX_MULTIPLY", "FLOAT"]], "bf16"),
        ([["MATRIX_MULTIPLY", "HALF"], ["MATRIX_MULTIPLY", "HALF"], ["MATRIX_MULTIPLY", "FLOAT"]], "fp16"),
        ([["MATRIX_MULTIPLY", "INT64"], ["ACTIVATION", "HALF"]], "float32"),
    ],
)
def test_the_precision_is_read_from_the_network(tmp_path, layers, precision):
    folder = exported(tmp_path / "model", network={**NETWORK, "layers": layers})
    built = build_engine(folder, "network", TILE, library=standin()[0])
    assert EngineName.parse(built.path.name).precision == precision


def test_one_engine_a_graph_and_tile_and_a_second_run_keeps_them(folder):
    library, seen = standin()
    built = build_engines(folder, graphs=["encoder", "network"], library=library)
    tiles = [EngineName.parse(b.path.name) for b in built]
    expected = [(g, t) for g in ("encoder", "network") for t in ("1x10", "4x10", "16x10")]
    assert [(t.graph, t.tile) for t in tiles] == expected
    again = build_engines(folder, graphs=["encoder", "network"], library=library)
    assert all(b.reused for b in again)
    assert [b.path for b in again] == [b.path for b in built]
    assert [b.normalizations for b in again] == [b.normalizations for b in built] == [0, 0, 0, 2, 2, 2]
    assert len(seen.configs) == 6
    longer = build_engines(folder, graphs=["network"], clips=[2], frames=5, library=library)
    assert description(longer[0].path)["inputs"]["x"] == [10, 3, 8, 8]


def test_the_timing_cache_is_kept_and_reused(folder):
    library, seen = standin()
    seen.cache = b"times of the first"
    first = build_engine(folder, "network", TILE, library=library)
    assert "is started" in beside(first.path, "log").read_text()
    cache = folder / "engines" / "timing-sm90-trt10.16.1.11.cache"
    assert cache.read_bytes() == b"times of the first"
    seen.cache = b"times of both"
    second = build_engine(folder, "encoder", TILE, library=library)
    assert "timing cache read from" in beside(second.path, "log").read_text()
    assert cache.read_bytes() == b"times of both"
    cache.write_bytes(b"nonsense")
    third = build_engine(folder, "encoder", Tile(1, 10), library=library)
    assert "damaged or of another device" in beside(third.path, "log").read_text()
    assert cache.read_bytes() == b"times of both"
    without = build_engine(
        folder, "network", Tile(1, 10), library=library, options=BuildOptions(timing_cache=False), out=folder
    )
    assert not list(without.path.parent.glob("*.cache"))


def test_a_stale_engine_is_refused_and_replaced_on_request(folder):
    library = standin()[0]
    old = build_engine(folder, "network", TILE, library=library).path
    exported(folder, network={**NETWORK, "new": 1})
    with pytest.raises(InputError, match=rf"{old.name}: is stale.*; --rebuild .rebuild=True. replaces it"):
        build_engine(folder, "network", TILE, library=library)
    new = build_engine(folder, "network", TILE, library=library, rebuild=True).path
    assert new != old
    assert [n for n in names(folder) if n.startswith("network")] == [new.name + end for end in ("", ".json", ".log")]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated"),
        (lambda path: beside(path, "json").unlink(), "has no description"),
        (lambda path: beside(path, "json").write_text("{"), "is damaged"),
    ],
)
def test_a_damaged_engine_is_refused_and_replaced_on_request(folder, spoil, said):
    library = standin()[0]
    path = build_engine(folder, "network", TILE, library=library).path
    spoil(path)
    with pytest.raises(InputError, match=said) as caught:
        build_engine(folder, "network", TILE, library=library)
    assert path.name in str(caught.value)
    assert "--rebuild (rebuild=True) replaces it" in str(caught.value)
    assert not build_engine(folder, "network", TILE, library=library, rebuild=True).reused
    assert description(path)


def test_an_engine_of_other_options_is_not_taken_for_what_was_asked(folder):
    library = standin()[0]
    build_engine(folder, "network", TILE, library=library)
    with pytest.raises(InputError, match="was built with other options; --rebuild"):
        build_engine(folder, "network", TILE, library=library, options=BuildOptions(refit=True))


def test_engines_of_other_machines_and_versions_stay(folder):
    build_engine(folder, "network", TILE, library=standin()[0])
    build_engine(folder, "network", TILE, library=standin(version="11.4.0.106")[0])
    build_engine(folder, "network", TILE, library=standin("tensorrt_rtx", "1.7.1.116")[0])
    assert len(list((folder / "engines").glob("*.engine"))) == 3


def test_a_failed_build_leaves_its_log_and_the_engine_that_was_there(folder):
    good = build_engine(folder, "network", TILE, library=standin()[0]).path
    before = {p.name: p.read_bytes() for p in (folder / "engines").iterdir()}
    with pytest.raises(DiffSDAError, match=r"the build failed \(out of memory\); its log is .*\.failed\.log"):
        build_engine(folder, "network", TILE, library=standin(builds=False)[0], rebuild=True)
    log = beside(good, "failed.log")
    assert "ERROR: out of" in log.read_text()
    assert {p.name: p.read_bytes() for p in (folder / "engines").iterdir() if p != log} == before
    build_engine(folder, "network", TILE, library=standin()[0], rebuild=True)
    assert not log.exists()


def test_no_driver_is_said(folder):
    with pytest.raises(DiffSDAError, match=r"no builder could be made.*nvidia-smi"):
        build_engine(folder, "network", TILE, library=standin(starts=False)[0])
    assert not (folder / "engines").exists()


def test_parser_errors_name_their_nodes(tmp_path):
    errors = [["no such\noperator", "odd_node", "Odd"], ["damaged", "", ""]]
    folder = exported(tmp_path / "model", network={**NETWORK, "errors": errors})
    with pytest.raises(InputError) as caught:
        build_engine(folder, "network", TILE, library=standin()[0])
    assert "parser refuses it: node 'odd_node' (Odd): no such operator; damaged; export" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (folder / "engines").exists()


def test_axes_that_the_tile_does_not_settle_are_refused(tmp_path):
    table = {**ENCODER, "inputs": {"c_noise": ["levels"]}}
    odd = {**NETWORK, "inputs": {"x": ["s77", 3]}}
    folder = exported(tmp_path / "model", noise_table=table, network=odd)
    library = standin()[0]
    with pytest.raises(InputError, match=r"axis 0 of 'c_noise' is free.*'levels'.*say how many levels"):
        build_engine(folder, "noise_table", TILE, library=library)
    with pytest.raises(InputError, match=r"axis 0 of 'x' is free and called 's77'.*export the model again"):
        build_engine(folder, "network", TILE, library=library)
    built = build_engine(folder, "noise_table", Tile(4, 10, 32), library=library)
    assert built.path.name.startswith("noise_table-32-bf16-")


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_a_full_disk_leaves_nothing(folder, monkeypatch, fails):
    """The first file is the engine, the second its description, the third its log."""
    written = []
    write = atomic.atomic_write

    def full(path, fill):
        written.append(path)
        if len(written) == fails:
            raise SaveError(f"{path}: could not be written ({os.strerror(errno.ENOSPC)})")
        write(path, fill)

    monkeypatch.setattr(engine, "atomic_write", full)
    options = BuildOptions(timing_cache=False)
    with pytest.raises(SaveError, match="No space left"):
        build_engine(folder, "network", TILE, library=standin()[0], options=options)
    assert len(written) == fails
    assert names(folder) == []


def test_a_timing_cache_that_cannot_be_kept_costs_no_engine(folder, monkeypatch):
    def full(path, fill):
        raise SaveError(f"{path}: could not be written")

    monkeypatch.setattr(engine_plan, "atomic_write", full)
    built = build_engine(folder, "network", TILE, library=standin()[0])
    assert "timing cache not kept" in beside(built.path, "log").read_text()


def test_progress_is_shown_and_an_interrupt_stops_the_build(folder):
    steps = []
    build_engine(folder, "network", TILE, library=standin()[0], progress=lambda *step: steps.append(step))
    phase = "Building engine"
    assert steps == [(phase, 0, 2), (phase, 1, 2), (phase, 2, 2), (phase, 2, 2)]

    def stop(phase, done, steps):
        if done == 1:
            raise KeyboardInterrupt

    library, seen = standin()
    with pytest.raises(KeyboardInterrupt):
        build_engine(folder, "encoder", TILE, library=library, progress=stop)
    assert seen.calls == [("stopped", 0)]  # The builder heard of it at its first step.
    assert not [n for n in names(folder) if n.startswith("encoder")]


def test_rtx_builds_without_a_gpu_for_all_or_one(folder, monkeypatch):
    monkeypatch.setattr(engine_plan, "device_architecture", lambda: None)
    library, seen = standin("tensorrt_rtx", "1.7.1.116")
    built = build_engine(folder, "network", TILE, library=library)
    assert "-any-rtx1.7.1.116-" in built.path.name
    assert seen.configs[0]._cache is None  # It times nothing.
    one = build_engine(folder, "network", TILE, library=library, options=BuildOptions(architecture="sm89"))
    assert "-sm89-" in one.path.name
    assert (seen.configs[1].num_compute_capabilities, seen.configs[1]._capabilities) == (1, {0: ComputeCapability.SM89})
    with pytest.raises(InputError, match="architecture: got 'sm90', expected one of sm75, sm80"):
        build_engine(folder, "network", TILE, library=library, options=BuildOptions(architecture="sm90"))


def test_tensorrt_builds_for_the_gpu_at_hand_alone(folder, monkeypatch):
    with pytest.raises(InputError, match="got sm80, expected sm90: TensorRT builds for the GPU at hand"):
        build_engine(folder, "network", TILE, library=standin()[0], options=BuildOptions(architecture="sm80"))
    monkeypatch.setattr(engine_plan, "device_architecture", lambda: None)
    with pytest.raises(InputError, match="got no GPU, expected one"):
        build_engine(folder, "network", TILE, library=standin()[0])


def test_requests_that_cannot_be_are_refused(folder):
    library = standin()[0]
    with pytest.raises(InputError, match="got no graph 'denoise', expected one of network, encoder"):
        build_engines(folder, library=library)
    with pytest.raises(InputError, match="got no graph or no tile"):
        build_engines(folder, clips=[], library=library)
    exported(folder, frames=None)
    with pytest.raises(InputError, match=r"frames: got none.*say how many"):
        build_engines(folder, graphs=["network"], library=library)
    for bad in ({"workspace": 0}, {"effort": 6}, {"workspace": 1.5}):
        with pytest.raises(InputError, match="expected a whole number"):
            BuildOptions(**bad)
    (folder / "file").write_bytes(b"")
    with pytest.raises(SaveError, match="could not be made"):
        build_engine(folder, "network", TILE, library=library, out=folder / "file" / "engines")


def test_without_a_package_it_is_said_how_to_get_one(monkeypatch):
    def none(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(tensorrt.importlib, "import_module", none)
    with pytest.raises(MissingPackage) as caught:
        tensorrt.load()
    for part in ("No module named 'tensorrt'", "No module named 'tensorrt_rtx'", "pip install tensorrt-rtx"):
        assert part in str(caught.value)
    with pytest.raises(InputError, match="got the package 'tensorrt2'"):
        tensorrt.load("tensorrt2")


def test_the_first_package_that_works_is_taken(monkeypatch):
    """A folder called tensorrt, or an installation without its libraries, is passed over."""

    class Hollow:
        pass

    class Whole:
        __version__ = "1.7.1.116"

    monkeypatch.setattr(tensorrt.importlib, "import_module", {"tensorrt": Hollow, "tensorrt_rtx": Whole}.__getitem__)
    library = tensorrt.load()
    assert (library.package, library.label, library.rtx) == ("tensorrt_rtx", "rtx1.7.1.116", True)
    monkeypatch.setattr(tensorrt.importlib, "import_module", lambda name: Whole)
    assert tensorrt.load().label == "trt1.7.1.116"
