"""heun's two halves in plain torch: the formula, the mutation, the buffered sampler, the costs, what is refused."""

import os

import pytest
import torch

from diffsda import kernels
from diffsda.edm import sampler
from diffsda.edm.precondition import Precondition
from diffsda.edm.sampler import heun
from diffsda.edm.schedule import inversion_plan, sampling_plan
from diffsda.errors import InputError
from diffsda.kernels.heun import cost
from diffsda.kernels.launch import BackendError
from diffsda.recipe import Sampling

EDM = Precondition(0.5)
CHURNING = Sampling(steps=6, S_churn=3.0, S_min=0.01, S_max=40.0)


def network(scaled, level):
    """Return an F that is neither linear nor diagonal."""
    return torch.tanh(2 * scaled.flip(-1) + 0.1 * level) - 0.4 * torch.sin(scaled) * scaled.roll(1, 0)


def normals(seed, like):
    draw = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(like.shape, dtype=torch.float64, generator=draw).to(like.dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_formula(dtype):
    x = torch.randn(3, 5, dtype=torch.float64)
    f, f2 = torch.randn(2, 3, 5).to(dtype)
    out = torch.full((3, 5), float("nan"), dtype=dtype)
    before = x.clone()
    kernels.heun_predict(x, f, out, a=0.3, b=-1.7)
    assert torch.equal(x, before)
    ulp = torch.finfo(dtype).eps
    torch.testing.assert_close(out.double(), 0.3 * x - 1.7 * f.double(), rtol=ulp, atol=1e-14)
    kernels.heun_correct(x, f, f2, out, keep=0.9, first=-0.3, second=0.7, c_in=1.1)
    wanted = 0.9 * before - 0.3 * f.double() + 0.7 * f2.double()
    torch.testing.assert_close(x, wanted, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(out.double(), 1.1 * x, rtol=ulp, atol=1e-14)


def test_an_euler_step_and_the_last_step():
    x = torch.randn(3, 5, dtype=torch.float64)
    f, before = torch.randn(3, 5), x.clone()
    out = torch.zeros(3, 5)
    kernels.heun_correct(x, f, None, None, keep=0.9, first=-0.3, second=5.0, c_in=1.1)
    torch.testing.assert_close(x, 0.9 * before - 0.3 * f.double())
    assert not out.any()


def test_the_coefficients_are_float64_on_the_host():
    x = torch.ones(4, dtype=torch.float64)
    out = torch.empty(4, dtype=torch.float64)
    kernels.heun_predict(x, x, out, a=1 / 3, b=1e-12)
    assert float(out[0]) == pytest.approx(1 / 3 + 1e-12, rel=1e-15)


def good():
    return {"x": torch.randn(2, 3, 4, 5), "f": torch.randn(2, 3, 4, 5), "f2": torch.randn(2, 3, 4, 5)}


REFUSED = [
    ({"f": torch.randn(2, 3, 4, 4)}, r"got f \(2, 3, 4, 4\), expected \(2, 3, 4, 5\) like x"),
    ({"f2": torch.randn(1, 3, 4, 5)}, r"got f2 \(1, 3, 4, 5\), expected"),
    ({"x": torch.randn(2, 3, 4, 5).bfloat16()}, r"got x in torch.bfloat16, expected the state in float32"),
    ({"f": torch.ones(2, 3, 4, 5, dtype=torch.int64)}, r"got f in torch.int64, expected float32"),
    ({"f": torch.empty(2, 3, 4, 5, device="meta")}, r"got f on meta, expected cpu like x"),
    ({"f2": torch.randn(2, 3, 4, 10)[..., ::2]}, r"got f2 with strides \(120, 40, 10, 2\), expected a dense"),
    ({"x": torch.randn(2, 3, 5, 4).mT}, r"got x with strides \(60, 20, 1, 4\) and the network's"),
    ({"x": torch.randn(2, 4, 5, 3).permute(0, 3, 1, 2)}, r"got x with strides \(60, 1, 15, 3\) and the network's"),
    ({"f": torch.randn(2, 3, 4, 5, requires_grad=True)}, r"got f with requires_grad, expected none"),
    ({"x": torch.randn(2, 3, 4, 5, requires_grad=True)}, r"got x with requires_grad, expected none"),
]


@pytest.mark.parametrize("backend", ["torch", "triton"])
@pytest.mark.parametrize(("change", "words"), REFUSED, ids=[words[4:24] for _, words in REFUSED])
def test_refusals_on_both_paths(backend, change, words):
    given = {**good(), **change}
    x, f, f2 = given["x"], given["f"], given["f2"]
    with kernels.backend(backend):
        with pytest.raises(InputError, match="heun_correct: " + words):
            kernels.heun_correct(x, f, f2, torch.empty_like(f2), keep=1.0, first=1.0, second=1.0, c_in=1.0)
        if "f2" not in change:
            with pytest.raises(InputError, match="heun_predict: " + words.split(" and the")[0]):
                kernels.heun_predict(x, f, torch.empty_like(f), a=1.0, b=1.0)


def test_triton_does_not_run_in_float64_nor_quietly_elsewhere():
    x = torch.randn(4, dtype=torch.float64)
    with (
        kernels.backend("triton"),
        pytest.raises(InputError, match=r"heun_predict: got torch.float64, expected float32"),
    ):
        kernels.heun_predict(x, x.clone(), x.clone(), a=1.0, b=1.0)
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.importorskip("triton")
        with kernels.backend("triton"), pytest.raises(BackendError, match="asked for with CPU tensors"):
            kernels.heun_predict(torch.ones(4), torch.ones(4), torch.ones(4), a=1.0, b=1.0)


def test_gradients_are_refused_only_while_they_are_recorded():
    x, f = torch.randn(4), torch.randn(4, requires_grad=True)
    with torch.no_grad():
        kernels.heun_predict(x, f, torch.empty(4), a=1.0, b=1.0)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 4, 4)])
@pytest.mark.parametrize("kind", ["sampling", "inversion", "churn", "two steps"])
def test_the_buffered_sampler_is_the_functional_one_to_the_bit(kind, shape):
    sampling = {"churn": CHURNING, "two steps": Sampling(steps=2)}.get(kind, Sampling(steps=5))
    plan = (inversion_plan if kind == "inversion" else sampling_plan)(sampling, EDM)
    x = 10 * torch.randn(shape)
    before = x.clone()
    wanted = sampler._functional(network, x, plan, normals(5, x), iter, x.dtype)
    given = sampler._buffered(network, x, plan, normals(5, x), iter, x.dtype)
    # A buffer's x + churn * n is rounded once, the functional form's twice.
    torch.testing.assert_close(given, wanted, rtol=1e-6 if kind == "churn" else 0, atol=1e-6 if kind == "churn" else 0)
    assert torch.equal(x, before)


def test_the_buffers_stay_where_they_are_and_the_network_decides_on_the_layout():
    plan = sampling_plan(Sampling(steps=4), EDM)
    seen = []

    def watched(scaled, level):
        seen.append((scaled.data_ptr(), scaled.is_contiguous(memory_format=torch.channels_last), scaled.dtype))
        return network(scaled, level).to(memory_format=torch.channels_last)

    x = torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        given = sampler._buffered(watched, x, plan, None, iter, torch.bfloat16)
    assert len({address for address, *_ in seen[1:]}) == 1
    assert [last for _, last, _ in seen] == [False] + [True] * 6
    assert {dtype for *_, dtype in seen} == {torch.bfloat16}
    wanted = heun(network, x, plan, dtype=torch.bfloat16)
    torch.testing.assert_close(given, wanted, rtol=1e-2, atol=1e-2)


def test_a_network_that_hands_back_its_input_or_a_view_of_it():
    plan = sampling_plan(Sampling(steps=4), EDM)
    x = torch.randn(4, 6)
    for hand_back in (lambda scaled, level: scaled, lambda scaled, level: scaled.flip(1).flip(1).view(4, 6)):
        given = sampler._buffered(hand_back, x, plan, None, iter, x.dtype)
        torch.testing.assert_close(given, heun(lambda s, level: s.clone(), x, plan), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_result_has_the_dtype_of_the_start(dtype):
    plan = sampling_plan(Sampling(steps=3), EDM)
    x = torch.randn(4, 6).to(dtype)
    for call in (sampler._buffered, sampler._functional):
        assert call(network, x, plan, None, iter, dtype).dtype == dtype


def test_with_gradients_on_the_sampler_can_be_differentiated_whatever_the_switch_says():
    plan = sampling_plan(Sampling(steps=3), EDM)
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    with kernels.backend("triton"):
        assert torch.autograd.gradcheck(lambda x: heun(network, x, plan), x)


def test_churn_without_a_source_is_refused_by_both_routes():
    plan, x = sampling_plan(CHURNING, EDM), torch.randn(4, 3)
    for call in (sampler._buffered, sampler._functional):
        with pytest.raises(ValueError, match="fresh"):
            call(network, x, plan, None, iter, x.dtype)


def test_bytes_by_design():
    shape, n = (160, 4, 32, 32), 160 * 4 * 32 * 32
    assert cost.predict(shape, torch.bfloat16).useful == 8 * n
    assert cost.correct(shape, torch.bfloat16).useful == 14 * n
    assert cost.correct(shape, torch.bfloat16, second=False, out=False).useful == 10 * n
    assert cost.correct(shape, torch.float32).moved == 20 * n
    both = cost.predict(shape, torch.bfloat16) + cost.correct(shape, torch.bfloat16)
    assert both.useful == 22 * n


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("last", ["neither", "both", "network"])
@pytest.mark.parametrize("shape", [(3, 4, 33, 31), (160, 4, 32, 32), (7, 3, 64, 64)])
def test_the_kernels_on_a_gpu_against_float64(shape, last, dtype):
    x = torch.randn(shape, device="cuda")
    f, f2 = torch.randn(2, *shape, device="cuda").to(dtype)
    if last == "both":
        x = x.to(memory_format=torch.channels_last)
    if last != "neither":
        f, f2 = (t.contiguous(memory_format=torch.channels_last) for t in (f, f2))
    results = []
    for backend, wide in (("triton", False), ("torch", False), ("torch", True)):
        given = [t.double() if wide else t.clone() for t in (x, f, f2)]
        guess, out = (torch.full_like(given[1], torch.nan) for _ in range(2))
        with kernels.backend(backend):
            kernels.heun_predict(given[0], given[1], guess, a=0.3, b=-1.7)
            kernels.heun_correct(*given, out, keep=0.9, first=-0.3, second=0.7, c_in=1.1)
        results.append((guess, given[0], out))
    for ours, plain, exact in zip(*results):
        far, allowed = (float((t.double() - exact).norm() / exact.norm()) for t in (ours, plain))
        assert far <= max(2 * allowed, torch.finfo(ours.dtype).eps)


@pytest.mark.gpu
@torch.no_grad()
def test_the_sampler_in_a_captured_graph():
    plan = sampling_plan(Sampling(steps=4), EDM)
    x = torch.randn(2, 3, 8, 8, device="cuda")
    with kernels.backend("triton"):
        wanted = heun(network, x, plan)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            given = heun(network, x, plan)
        x.copy_(2 * x)
        graph.replay()
        assert torch.equal(given, heun(network, x, plan))
        assert not torch.equal(given, wanted)
