"""Other roads to the same training: recomputation, channels_last; and what each refuses."""

import pytest
import torch
from training_runs import assert_same_run, clips, records, state_of, vector, video

from diffsda.checkpoint import load
from diffsda.errors import InputError
from diffsda.kernels import backend
from diffsda.model import DiffSDA
from diffsda.nn.blocks import AdaGNBlock, EncoderBlock
from diffsda.train.graph import GraphedStep, check_graph
from diffsda.train.loop import Options, train
from diffsda.train.parallel import Processes
from diffsda.train.precision import is_bf16, lay_out, products
from diffsda.train.recompute import recompute
from diffsda.train.step import TrainStep

ALONE, CUDA = (Processes(0, 1, torch.device(name)) for name in ("cpu", "cuda"))


def test_recomputing_trains_the_same_bit_for_bit_with_dropout(tmp_path):
    recipe = video(dropout=0.3, steps=4, accumulate=2, ema=0.9)
    data = clips(recipe, lengths=True)
    for name in ("kept", "again"):
        train(recipe, data, tmp_path / name, Options(log_every=1, recompute=name == "again"))
    assert_same_run(tmp_path / "again", tmp_path / "kept")


def held(model, x):
    """Bytes that a loss keeps for its backward pass."""
    kept = {}

    def pack(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = model.loss(x)
    return sum(n for at, n in kept.items() if at not in weights), loss


def test_recomputing_keeps_less():
    recipe = video(dropout=0.1)
    plain, again = DiffSDA(recipe).train(), DiffSDA(recipe).train()
    names = list(again.state_dict())
    assert recompute(again) == sum(isinstance(m, (AdaGNBlock, EncoderBlock)) for m in plain.modules())
    assert list(again.state_dict()) == names
    x = torch.as_tensor(clips(recipe, 8).x)
    (before, _), (after, _) = held(plain, x), held(again, x)
    assert after < 0.6 * before


def test_recomputing_is_for_video(tmp_path):
    with pytest.raises(InputError, match=r"got the vector recipe tiny_vector, expected a video recipe; .* in parts"):
        train(vector(), clips(vector()), tmp_path / "run", Options(recompute=True))
    assert not (tmp_path / "run").exists()


def test_channels_last_trains_the_same_and_its_files_are_like_any(tmp_path):
    recipe = video(dropout=0.0, steps=4, ema=0.9)
    data = clips(recipe)
    train(recipe, data, tmp_path / "plain", Options(log_every=1))
    train(recipe, data, tmp_path / "last", Options(log_every=1, layout="channels_last"))
    losses = [[record["loss"] for record in records(tmp_path / name)] for name in ("plain", "last")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert not state_of(tmp_path / "last")["model"]["encoder.frame.head.weight"].is_contiguous()
    assert all(value.is_contiguous() for value in load(tmp_path / "last").state_dict().values())
    longer = recipe.replace(optim={"steps": 4})
    # A run begun in one layout goes on in the other.
    half = tmp_path / "half"
    train(longer, data, half, Options(log_every=1, layout="channels_last", until=2))
    train(longer, data, half, Options(log_every=1, resume=True))
    assert [record["loss"] for record in records(half)] == pytest.approx(losses[0], rel=1e-4)


def test_the_layout_follows_the_device_and_the_kind():
    small = torch.nn.Conv2d(2, 2, 3)
    assert lay_out(small, video(), Options(), ALONE) == "contiguous"
    assert lay_out(small, vector(), Options(), CUDA) == "contiguous"
    assert small.weight.is_contiguous()
    assert lay_out(small, video(), Options(), CUDA) == "channels_last"
    assert not small.weight.is_contiguous()
    with pytest.raises(InputError, match="layout: got 'nhwc', expected auto, channels_last or contiguous"):
        lay_out(small, video(), Options(layout="nhwc"), CUDA)
    with pytest.raises(InputError, match="channels_last for tiny_vector, expected a video recipe"):
        lay_out(small, vector(), Options(layout="channels_last"), ALONE)


def test_tf32_is_on_where_asked_for_and_only_while_training():
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [f.allow_tf32 for f in flags]
    for precision, on in (("tf32", True), ("float32", False), ("bf16", False)):
        with products(Options(precision=precision), CUDA):
            assert [f.allow_tf32 for f in flags] == [on, on]
        assert [f.allow_tf32 for f in flags] == before
    assert not is_bf16(Options(precision="tf32"), CUDA)
    with pytest.raises(InputError, match="got tf32 on cpu, expected a CUDA device"):
        is_bf16(Options(precision="tf32"), ALONE)


def test_a_graph_needs_a_cuda_device_of_its_own(tmp_path):
    with pytest.raises(InputError, match="graph: got device cpu, expected a CUDA device; leave out --graph"):
        train(vector(), clips(vector()), tmp_path / "run", Options(graph=True, device="cpu"))
    assert not (tmp_path / "run").exists()
    check_graph(Options(graph=True), vector(), CUDA)
    with pytest.raises(InputError, match="graph: got 2 processes, expected one"):
        check_graph(Options(graph=True), vector(), Processes(0, 2, torch.device("cuda")))


def test_recomputed_dropout_in_a_graph_needs_our_kernels():
    both = Options(graph=True, recompute=True)
    check_graph(both, video(dropout=0.0), CUDA)
    with pytest.raises(InputError, match=r"recomputation and dropout 0\.1 with kernels 'auto', expected ours"):
        check_graph(both, video(), CUDA)
    with backend(group_norm="triton"):
        check_graph(both, video(), CUDA)


def test_a_graph_holds_our_optimiser_only():
    model = DiffSDA(vector())
    step = TrainStep(model, torch.optim.SGD(model.parameters()), vector(), ALONE)
    with pytest.raises(InputError, match="graph: got SGD, expected FusedAdamW"):
        GraphedStep(step)


def test_compiling_and_recomputing_exclude_each_other(tmp_path):
    with pytest.raises(InputError, match="compile: got recompute as well, expected one of them"):
        train(vector(), clips(vector()), tmp_path / "run", Options(compile=True, recompute=True))
