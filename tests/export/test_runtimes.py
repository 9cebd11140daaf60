"""What runs an exported folder: the choice on the command line, and calls on a GPU that nobody waits for."""

import shutil
import sys
import types

import numpy as np
import pytest
import torch

from diffsda.checkpoint import save
from diffsda.cli import main
from diffsda.export.engine_name import EngineName, tile_of_engines
from diffsda.export.onnxruntime import OpenGraph
from diffsda.model import DiffSDA
from diffsda.presets import preset


def encode(model, tmp_path, *more):
    np.savez(tmp_path / "clips.npz", x=np.zeros((2, 4, 5), np.float32))
    return main(["encode", str(model), str(tmp_path / "clips.npz"), "--out", str(tmp_path / "z.npz"), "--as-is", *more])


def test_engines_that_are_missing_are_named(exported, tmp_path, capsys):
    folder = tmp_path / "export"
    shutil.copytree(exported("timeseries")[2], folder)
    assert encode(folder, tmp_path, "--runtime", "tensorrt") == 2
    said = capsys.readouterr().err
    assert f"{folder / 'engines'} holds no engines of encoder and network" in said
    assert f"`diffsda export {folder} --to tensorrt`" in said
    assert encode(folder, tmp_path, "--runtime", "tensorrt", "--device", "cpu") == 2
    assert "--device: got cpu" in capsys.readouterr().err
    assert encode(folder, tmp_path, "--runtime", "onnxruntime") == 0


def test_a_model_file_has_no_runtime(tmp_path, capsys):
    save(DiffSDA(preset("tiny_vector")), tmp_path / "m.safetensors")
    assert encode(tmp_path / "m.safetensors", tmp_path, "--runtime", "onnxruntime") == 2
    assert "--runtime: got onnxruntime for" in capsys.readouterr().err


def test_the_tile_of_most_clips_that_all_graphs_have(exported, tmp_path):
    folder = tmp_path / "export"
    shutil.copytree(exported("timeseries")[2], folder)
    (folder / "engines").mkdir()
    for graph, tiles in {"encoder": ["1x5", "4x5", "16x5"], "network": ["1x5", "4x5", "4x7"]}.items():
        for tile in tiles:
            name = EngineName(graph, tile, "float32", "any", "rtx1.7.1", "0" * 12)
            (folder / "engines" / str(name)).touch()
    tile = tile_of_engines(folder, ("encoder", "network"))
    assert (tile.clips, tile.frames) == (4, 5)
    assert tile_of_engines(folder, ("encoder", "network"), frames=19).clips == 1
    with pytest.raises(Exception, match="no engines of encoder and network for at most 4 frames; there are those of"):
        tile_of_engines(folder, ("encoder", "network"), frames=4)


class Stream:
    """A stand-in for a CUDA stream: who waits for it goes on after what it was given."""

    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def wait_stream(self, other):
        self.calls.append(f"{self.name} waits for {other.name}")


def test_a_call_on_a_gpu_is_ordered_by_streams_and_nothing_is_waited_for(monkeypatch):
    calls, entries = [], {}

    class Options:
        def add_run_config_entry(self, name, value):
            entries[name] = value

    class Binding:
        def bind_input(self, name, *rest):
            calls.append(f"bind {name}")

        def bind_output(self, name, *rest):
            calls.append(f"bind {name}")

        def get_outputs(self):
            value = types.SimpleNamespace(to_dlpack=lambda: torch.utils.dlpack.to_dlpack(torch.ones(2)))
            return [types.SimpleNamespace(_ortvalue=value)]

    class Session:
        def io_binding(self):
            return Binding()

        def run_with_iobinding(self, binding, how):
            assert isinstance(how, Options)
            calls.append("run")

    monkeypatch.setitem(sys.modules, "onnxruntime", types.SimpleNamespace(RunOptions=Options))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("torch", calls))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *a: calls.append("synchronize"))
    graph = OpenGraph(Session(), torch.device("meta"), Stream("runtime", calls))
    (y,) = graph({"x": torch.zeros(2, 3)}, ["y"])
    assert y.tolist() == [1, 1]
    assert calls == ["bind x", "bind y", "runtime waits for torch", "run", "torch waits for runtime"]
    assert entries == {"disable_synchronize_execution_providers": "1"}
