"""Clips that are read while a model trains: each process reads its own, a run that goes on sees what it would have."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from training_runs import assert_same_run, vector

from diffsda.data.stream import Take
from diffsda.errors import InputError, TrainingError
from diffsda.firststage.whiten import Whitening
from diffsda.train.data import Batch, Ready, fits, whitening_for
from diffsda.train.log import read_log
from diffsda.train.loop import Options, train
from diffsda.train.order import Order
from diffsda.train.streamed import Streamed

LOG = Options(log_every=1)


class Waves:
    """A stream of windows of waves: item and seed decide all values; remembers what it was asked for."""

    name, source, statistics, options = "waves", "made", ((1.0,) * 6, (2.0,) * 6), {"first_stage_digest": "abc"}

    def __init__(self, items=11, frames=6, features=6):
        self.items, self.shape, self.asked = items, (frames, features), []

    def __len__(self):
        return self.items

    def labels(self):
        return {}

    def fingerprint(self):
        return f"{self.name} {len(self)}"

    def describe(self):
        return "made as it is read"

    def clip(self, take):
        draw = np.random.default_rng([take.item, take.seed or 0])
        return 1 + 2 * draw.standard_normal(self.shape, np.float32)

    def batches(self, takes):
        for few in takes:
            self.asked.append(list(few))
            yield np.stack([self.clip(take) for take in few])


def test_a_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    recipe = vector(steps=6, ema=0.9)
    whole = train(recipe, Waves(), tmp_path / "whole", LOG)
    train(recipe, Waves(), tmp_path / "parts", dataclasses.replace(LOG, until=2))
    train(recipe, Waves(), tmp_path / "parts", dataclasses.replace(LOG, resume=True))
    assert_same_run(tmp_path / "parts", tmp_path / "whole")
    assert whole.model.whitening == Whitening(*Waves.statistics)
    assert all("data_wait" in record for record in read_log(tmp_path / "whole"))
    assert whole.model.provenance["first_stage"] == "abc"
    told = json.loads((tmp_path / "whole" / "provenance.json").read_text())
    assert told["reader"] == "made as it is read"


def test_two_readings_of_one_item_differ_and_repeat():
    streamed = Streamed(Waves(), None, Order(11, 4, seed=3))
    takes = [take for step in range(11) for take in streamed.takes(step, slice(0, 4))]
    assert len({take.seed for take in takes}) == 44
    assert sorted(take.item for take in takes[:11]) == list(range(11))
    again = Streamed(Waves(), None, Order(11, 4, seed=3))
    assert again.takes(7, slice(0, 4)) == takes[28:32]
    other = Streamed(Waves(), None, Order(11, 4, seed=4))
    assert {take.seed for take in other.takes(0, slice(0, 4))}.isdisjoint(take.seed for take in takes)


def test_processes_read_their_own_clips_and_all_of_them():
    order, stream = Order(11, 4, seed=0), Waves()
    whole = Streamed(stream, None, order).batch(5)
    shares = [[slice(0, 1), slice(1, 2)], [slice(2, 3), slice(3, 4)]]
    parts = []
    for share in shares:
        stream.asked.clear()
        own = Streamed(stream, None, order).supply(range(5, 9), share)(5)
        assert [len(few) for few in stream.asked] == [2]
        assert own.shape == whole.shape == (4, 6, 6)
        assert (own.frames, own.elements) == (whole.frames, whole.elements) == (24, 144)
        ready = Ready.of(own, share, torch.device("cpu"))
        assert (ready.shape, ready.frames) == ((4, 6, 6), 24)
        parts += [part.x for part in ready.parts]
    assert torch.equal(torch.cat(parts), whole.x)


def test_a_part_of_a_batch_is_found_by_its_place_in_the_whole():
    x = torch.arange(6.0).reshape(3, 2, 1)
    batch = Batch(x, first=4, whole=8)
    assert torch.equal(batch.rows(slice(5, 7)).x, x[1:])
    assert batch.shape == (8, 2, 1)


def test_what_was_whitened_has_the_scale_the_network_expects():
    stream = Waves()
    raw = stream.clip(Take(2, 9))
    whitening = whitening_for(stream, vector(), None)
    batch = Streamed(stream, whitening, Order(11, 4, seed=0)).batch(0)
    assert whitening.mean == Waves.statistics[0]
    assert 0.3 < float(batch.x.std()) < 0.7
    assert np.allclose(whitening.undo(whitening.apply(raw[None])), raw, atol=1e-5)
    assert whitening_for(stream, vector(), False) is None


def test_a_stream_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"clips waves: got \(11, 6, 7\), expected \(N, V, 6\)"):
        fits(Waves(features=7), vector())
    unmeasured = Waves()
    unmeasured.statistics = None
    with pytest.raises(InputError, match=r"no statistics to whiten with.*--no-whiten"):
        whitening_for(unmeasured, vector(), None)
    with pytest.raises(InputError, match=r"optim.window: got 0.5"):
        train(vector(window=0.5), Waves(), tmp_path / "run", LOG)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_leaves_the_whole_batch(tmp_path):
    class Broken(Waves):
        def clip(self, take):
            return super().clip(take) * np.float32(1e30 if take.item == 5 else 1)

    with pytest.raises(TrainingError, match="not finite"):
        train(vector(steps=9), Broken(), tmp_path / "run", LOG)
    (kept,) = (tmp_path / "run").glob("offending-*.npz")
    with np.load(kept) as held:
        assert len(held["x"]) == vector().optim.batch
        assert 5 in held["indices"]
        bad = abs(held["x"]).max(axis=(1, 2)) > 1e20
        assert np.array_equal(bad, held["indices"] == 5)


def test_an_error_while_reading_is_told(tmp_path):
    class Gone(Waves):
        def batches(self, takes):
            yield next(super().batches(takes))
            raise InputError("clip.mp4: cannot be read")

    with pytest.raises(InputError, match=r"clip.mp4: cannot be read"):
        train(vector(steps=5), Gone(), tmp_path / "run", LOG)
