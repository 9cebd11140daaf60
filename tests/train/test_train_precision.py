"""bf16 and torch.compile on the CPU: other roads to the same training."""

import pytest
import torch
from training_runs import assert_same_run, clips, records, state_of, vector, video

from diffsda.checkpoint import load
from diffsda.errors import InputError
from diffsda.model import DiffSDA
from diffsda.train.loop import Options, train
from diffsda.train.parallel import Processes
from diffsda.train.precision import is_bf16


def losses(recipe, data, folder, **options):
    train(recipe, data, folder, Options(log_every=1, **options))
    return [record["loss"] for record in records(folder)]


@pytest.mark.parametrize("build", [vector, video])
def test_bf16_stays_within_half_a_percent_over_five_steps(tmp_path, build):
    recipe = build(dropout=0.0, steps=5)
    data = clips(recipe, lengths=True, mask=True)
    exact = losses(recipe, data, tmp_path / "float32", precision="float32")
    rough = losses(recipe, data, tmp_path / "bf16", precision="bf16")
    assert rough == pytest.approx(exact, rel=5e-3)
    before, after = (state_of(tmp_path / name)["model"] for name in ("float32", "bf16"))
    moved = max(float((before[k] - after[k]).abs().max()) for k in before)
    assert 1e-5 < moved < 5 * 2 * recipe.optim.lr, "another road, of at most lr a step each way"
    assert {value.dtype for value in after.values()} == {torch.float32}, "weights stay float32"


@pytest.mark.parametrize("build", [vector, video])
def test_the_recurrent_parts_stay_in_float32_under_autocast(build):
    model = DiffSDA(build(dropout=0.0)).train()
    encoder, seen = model.encoder, []
    for part in (encoder.recurrent.forward_lstm, encoder.dynamic_rnn, encoder.to_static):
        part.register_forward_hook(lambda m, given, y: seen.append((given[0].dtype, torch.is_autocast_enabled("cpu"))))
    x = torch.as_tensor(clips(model.recipe, 2).x)
    with torch.autocast("cpu", torch.bfloat16):
        factors = model.encode(x)
    assert seen == [(torch.float32, False)] * 3
    assert factors.static.dtype == factors.dynamic.dtype == torch.float32


def test_bf16_resumes_exactly(tmp_path):
    recipe = vector(steps=6)
    data = clips(recipe, lengths=True)
    losses(recipe, data, tmp_path / "whole", precision="bf16")
    losses(recipe, data, tmp_path / "run", precision="bf16", until=3)
    losses(recipe, data, tmp_path / "run", precision="bf16", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_auto_is_bf16_on_cuda_only():
    cpu, cuda = (Processes(0, 1, torch.device(name)) for name in ("cpu", "cuda"))
    assert [is_bf16(Options(precision=name), cpu) for name in ("auto", "float32", "bf16")] == [False, False, True]
    assert [is_bf16(Options(precision=name), cuda) for name in ("auto", "float32", "bf16")] == [True, False, True]
    with pytest.raises(InputError, match="precision: got 'half', expected auto, float32, tf32 or bf16"):
        is_bf16(Options(precision="half"), cpu)


@pytest.mark.slow
def test_compiled_training_gives_the_eager_losses(tmp_path):
    recipe = vector(dropout=0.0, steps=3)
    data = clips(recipe)
    eager = losses(recipe, data, tmp_path / "eager")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = losses(recipe, data, tmp_path / "compiled", compile=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2, "the encoder and the denoiser are compiled"
    assert not torch._dynamo.utils.counters["graph_break"]
    assert compiled == pytest.approx(eager, rel=1e-4)
    before, after = (load(tmp_path / name).state_dict() for name in ("eager", "compiled"))
    assert list(before) == list(after), "names do not tell of the compiler"
