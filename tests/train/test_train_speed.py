"""What a record says of the machine: clips a second, share of its arithmetic, waiting, memory."""

import time

import pytest
import torch
from training_runs import MEASURED, clips, vector

from diffsda.model import DiffSDA
from diffsda.train import loop, speed
from diffsda.train.data import Batch, Ready
from diffsda.train.flops import step_flops
from diffsda.train.log import read_log
from diffsda.train.loop import Options, train
from diffsda.train.parallel import Processes

CPU = torch.device("cpu")


def test_numbers_follow_from_what_was_done(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(speed, "matmul_rate", lambda device, dtype: 1e6 if dtype == torch.float32 else 1e9)
    recipe = vector(draws=2)
    model = DiffSDA(recipe)
    meter = speed.Meter(model, 6, Processes(0, 2, CPU), bf16=False)
    batch = Ready.of(Batch(torch.zeros(4, 6, 6), torch.tensor([6, 3, 3, 6])), [slice(0, 2)], CPU)
    meter.begin(waited=1.0)
    for _ in range(3):
        meter.step(batch)
    now[0] += 2.0
    values = meter.values(waited=1.5)
    assert set(values) == MEASURED
    assert values["clips_per_s"] == 3 * 4 / 2.0
    assert values["data_wait"] == 0.5 / 2.0
    frames = 3 * 18
    # Half of it in either process; padding is no work.
    assert values["mfu"] == pytest.approx(step_flops(model, 6) / 6 * frames / 2.0 / 2 / 1e6)
    now[0] += 1.0
    meter.step(batch)
    assert meter.values(waited=1.5)["clips_per_s"] == 4.0, "since the last record"


def test_a_run_says_so_in_its_log(tmp_path):
    recipe = vector(steps=4)
    train(recipe, clips(recipe), tmp_path / "run", Options(log_every=2))
    for record in read_log(tmp_path / "run"):
        assert 0 < record["mfu"] < 1
        assert 0 <= record["data_wait"] < 1
        assert 0.05 < record["memory_gb"] < 1000
        assert record["clips_per_s"] > 0


def test_waiting_for_batches_is_seen(tmp_path, monkeypatch):
    recipe = vector(steps=3)
    batch = loop._Run._batch
    monkeypatch.setattr(loop._Run, "_batch", lambda self, step: time.sleep(0.2) or batch(self, step))
    train(recipe, clips(recipe), tmp_path / "run", Options(log_every=3))
    (record,) = read_log(tmp_path / "run")
    assert record["data_wait"] > 0.3


def test_the_rate_of_products_is_measured_once_and_plausible():
    rate = speed.matmul_rate(CPU, torch.float32)
    assert 1e8 < rate < 1e14
    assert speed.matmul_rate(CPU, torch.float32) == rate


def test_stated_rates_by_name():
    assert speed.datasheet_rate("NVIDIA H200") == 989.4e12
    assert speed.datasheet_rate("NVIDIA H100 80GB HBM3") == 989.4e12
    assert speed.datasheet_rate("NVIDIA H100 PCIe") is None, "a slower card of the same name"
    assert speed.datasheet_rate("Quadro K620") is None
