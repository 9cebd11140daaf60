"""A session over engines: padded tiles of one size, against a stand-in that runs the ONNX files at no other."""

import pytest
import torch

from diffsda.errors import InputError
from diffsda.export import engine_session, reference
from diffsda.export.engine_session import EngineSession
from diffsda.export.onnxruntime import open_graph
from diffsda.export.session import OUTPUTS

CLIPS = 3


@pytest.fixture
def opened(exported, monkeypatch):
    """Return the model, its recorded results, a session and the sizes its engines were called at."""
    model, golden, folder = exported("timeseries")
    frames, calls = golden["x"].shape[1], []

    def stand_in(folder, graph, tile, **where):
        run = open_graph(folder / f"{graph}.onnx")
        rows = tile.clips if graph in ("encoder", "prior") else tile.clips * tile.frames

        def engine(**given):
            assert {t.shape[0] for t in given.values()} == {rows}
            assert {t.dtype for t in given.values()} == {torch.float32}
            calls.append((graph, rows))
            return dict(zip(OUTPUTS[graph], run(given, OUTPUTS[graph])))

        return engine

    monkeypatch.setattr(engine_session, "open_engine", stand_in)
    return model, golden, EngineSession(folder, clips=CLIPS, frames=frames, device="cpu"), calls


def far(a, b):
    return float((torch.as_tensor(a) - torch.as_tensor(b)).abs().max())


def test_recorded_samples_come_out_of_one_tile(opened):
    _, golden, session, calls = opened
    f = session.encode(golden["x"])
    assert far(f.static, golden["enc_s"]) < 1e-5
    assert far(session.sample(f, golden["xT"], 32), golden["sample_T32"]) < 1e-4
    assert {graph for graph, _ in calls} == {"encoder", "network"}
    assert sum(graph == "network" for graph, _ in calls) == 63


@pytest.mark.parametrize("clips", [1, CLIPS, CLIPS + 2, 2 * CLIPS])
def test_requests_of_any_number_of_clips(opened, clips):
    model, golden, session, calls = opened
    x = 0.5 * torch.randn(clips, *golden["x"].shape[1:])
    f = model.encode(x)
    got = session.encode(x)
    assert max(far(got.static, f.static.detach()), far(got.dynamic, f.dynamic.detach())) < 1e-5
    assert far(session.sample(got, steps=3), model.sample(f, steps=3)) < 1e-4
    assert sum(graph == "encoder" for graph, _ in calls) == -(-clips // CLIPS)
    assert far(session.denoise(x, torch.ones(clips), got), model.denoise(x, 1.0, f).detach()) < 1e-5
    assert session.report()["route"] == "tensorrt"


def test_clips_of_other_lengths_are_refused(opened):
    _, golden, session, _ = opened
    with pytest.raises(InputError, match="other lengths, expected"):
        session.encode(golden["x"][:, :-1])
    with pytest.raises(InputError, match="other lengths, expected"):
        session.encode(golden["x"], torch.full((len(golden["x"]),), 2))


def test_samples_of_a_prior_come_in_tiles_too(opened):
    _, _, session, calls = opened
    held = reference.read(session.folder).parts["prior"]
    z, t = (held[name].repeat_interleave(2, dim=0) for name in ("z", "t"))  # four rows, in tiles of three
    assert far(session.part("prior", z, t), held["eps"].repeat_interleave(2, dim=0)) < 1e-5
    assert calls == [("prior", CLIPS)] * 2
