"""adamw in plain torch, its library backend's dispatch, its tables and costs, and what is refused."""

import importlib
import os
import sys

import pytest
import torch
from adamw_runs import SETTINGS, SHAPES, by_adamw, by_torch, error

from diffsda import kernels
from diffsda.errors import InputError, MissingPackage
from diffsda.kernels.adamw import cost, nvidia_apex, table
from diffsda.kernels.launch import BackendError


@pytest.mark.parametrize("clip", [None, 1.0, 1e6], ids=["no clipping", "clipping at times", "clipping never"])
@pytest.mark.parametrize("numbers", [float, torch.tensor], ids=["numbers", "tensors"])
def test_a_hundred_steps_are_torchs_to_the_bit(clip, numbers):
    given = by_adamw(100, clip=clip, numbers=numbers)
    wanted = by_torch(100, clip=clip, dtype=torch.float32, fused=True)
    for name, values in wanted.items():
        if numbers is float or name in ("norms",):
            assert all(torch.equal(a, b) for a, b in zip(given[name], values, strict=True)), name
        else:
            # A rate and a decay in float32 are rounded once more.
            assert error(given[name], values) < (1e-6 if name != "copies" else 1e-4), name
    if clip == 1.0:
        assert min(given["norms"]) < 1 < max(given["norms"])


@pytest.mark.parametrize("clip", [None, 1.0])
def test_float64_is_the_formula(clip):
    given = by_adamw(20, clip=clip, dtype=torch.float64)
    wanted = by_torch(20, clip=clip, dtype=torch.float64, foreach=False, fused=False)
    for name, values in wanted.items():
        assert error(given[name], values) < 1e-12, name


def test_bf16_gradients_are_added_up_in_float32():
    given = by_adamw(20, clip=1.0, grads=torch.bfloat16)
    wanted = by_torch(20, clip=1.0, dtype=torch.float32, grads=torch.bfloat16, fused=True)
    for name, values in wanted.items():
        assert error(given[name], values) == 0, name


@pytest.mark.parametrize("numbers", [float, torch.tensor], ids=["numbers", "tensors"])
def test_compiled_it_is_the_formula_written_out(numbers):
    given = some(clip=0.5, step=3)
    exact = {k: doubled(v) if isinstance(v, list) and k != "copies" else v for k, v in given.items()}
    exact["copies"] = [c.clone() for c in given["copies"]]
    norm = call(exact)
    lr, step, decay = numbers(0.1), numbers(3.0), numbers(0.9)
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled({**given, "lr": lr, "step": step, "decay": decay}), norm.float())
    for name in ("params", "exp_avgs", "exp_avg_sqs", "averages"):
        assert error(given[name], exact[name]) < 2e-7, name
    assert error(given["copies"], exact["copies"]) < 1e-3


def some(**change):
    params = [torch.randn(3, 2), torch.randn(5)]
    lists = {
        "params": params,
        "grads": [torch.randn_like(p) for p in params],
        "exp_avgs": [torch.zeros_like(p) for p in params],
        "exp_avg_sqs": [torch.zeros_like(p) for p in params],
        "averages": [p.clone() for p in params],
        "copies": [p.bfloat16() for p in params],
    }
    return {**lists, "lr": 0.1, "step": 1, "decay": 0.9, "clip": 1.0, **SETTINGS, **change}


def call(given):
    given = dict(given)
    lists = [given.pop(name) for name in ("params", "grads", "exp_avgs", "exp_avg_sqs")]
    return kernels.adamw(*lists, **given)


def test_weights_without_a_gradient_stay_and_their_averages_and_copies_follow():
    given = some()
    given["grads"][0] = None
    given["averages"][0].zero_()
    given["copies"][0].zero_()
    before, norm = given["params"][0].clone(), given["grads"][1].norm()
    assert torch.equal(call(given), norm)
    assert torch.equal(given["params"][0], before)
    assert not given["exp_avgs"][0].any()
    torch.testing.assert_close(given["averages"][0], 0.1 * before)
    assert torch.equal(given["copies"][0], before.bfloat16())
    assert given["exp_avgs"][1].all()
    given["grads"][1] = None
    assert float(call(given)) == 0


def test_gradients_in_another_memory_format_are_put_in_place():
    torch.manual_seed(1)
    w, g = torch.randn(4, 3, 5, 5), torch.randn(4, 3, 5, 5)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        p = [w.clone()]
        m, v = [torch.zeros_like(w)], [torch.zeros_like(w)]
        kernels.adamw(p, [g.to(memory_format=layout)], m, v, lr=0.1, step=1, **SETTINGS)
        results.append((p[0], m[0], v[0]))
    for a, b in zip(*results):
        assert torch.equal(a, b)


def test_leaves_that_require_gradients_are_updated_all_the_same():
    given = some()
    given["params"] = [torch.nn.Parameter(p) for p in given["params"]]
    before = [p.detach().clone() for p in given["params"]]
    call(given)
    assert not any(torch.equal(a, b) for a, b in zip(before, given["params"]))
    assert all(p.grad_fn is None for p in given["params"])


def doubled(values):
    return [v.double() for v in values]


REFUSED = [
    (dict.fromkeys(("params", "grads", "exp_avgs", "exp_avg_sqs"), ()), "got no params"),
    ({"grads": [torch.zeros(3, 2)]}, "got 1 grads, expected 2 like params"),
    ({"copies": [torch.zeros(5)]}, "got 1 copies, expected 2 like params"),
    ({"exp_avgs": [torch.zeros(3, 2), torch.zeros(4)]}, r"got exp_avgs\[1\] \(4,\) on cpu, expected \(5,\) on cpu"),
    ({"grads": [torch.zeros(3, 2), torch.zeros(4)]}, r"got grads\[1\] \(4,\)"),
    ({"exp_avg_sqs": doubled([torch.zeros(3, 2), torch.zeros(5)])}, "got exp_avg_sqs in torch.float64, expected"),
    ({"grads": [torch.zeros(3, 2), torch.zeros(5).half()]}, r"got grads\[1\] in torch.float16 on cpu, expected"),
    ({"grads": [torch.zeros(3, 2).long(), torch.zeros(5).long()]}, "got grads in torch.int64, expected float32"),
    ({"exp_avgs": [None, torch.zeros(5)]}, r"got exp_avgs\[0\] None"),
    ({"params": [torch.zeros(3, 2).half(), torch.zeros(5).half()]}, "got params in torch.float16, expected float32"),
    ({"params": [torch.zeros(3, 2), torch.zeros(10)[::2]]}, r"got params\[1\] with strides \(2,\), expected a dense"),
    (
        {"exp_avgs": [torch.zeros(2, 3).mT, torch.zeros(5)]},
        r"got exp_avgs\[0\] with strides \(1, 3\), expected \(2, 1\)",
    ),
    ({"decay": None}, "got one of averages and decay"),
    ({"averages": None}, "got one of averages and decay"),
    ({"decay": 1.5}, "got decay 1.5, expected a number from 0 to 1"),
    ({"step": 0}, "got step 0, expected the number of this update, from 1"),
    ({"lr": -1.0}, "got lr -1.0, expected"),
    ({"lr": float("nan")}, "got lr nan, expected"),
    ({"lr": torch.zeros(2)}, r"got lr \(2,\) on cpu, expected a number or a 0-d tensor"),
    ({"step": torch.zeros((), device="meta")}, r"got step \(\) on meta, expected"),
    ({"betas": (0.9, 1.0)}, r"got betas \(0.9, 1.0\), expected"),
    ({"eps": -1.0}, "got eps -1.0"),
    ({"weight_decay": -1.0}, "weight_decay -1.0, expected"),
    ({"clip": -1.0}, "got clip -1.0, expected None or"),
]


@pytest.mark.parametrize("backend", ["torch", "triton", "apex"])
@pytest.mark.parametrize(("change", "words"), REFUSED, ids=[f"{next(iter(c))} {i}" for i, (c, _) in enumerate(REFUSED)])
def test_refusals_on_every_path(backend, change, words):
    with kernels.backend(adamw=backend), pytest.raises(InputError, match="adamw: .*" + words):
        call(some(**change))


def test_triton_does_not_run_quietly_elsewhere():
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("the interpreter runs it")
    pytest.importorskip("triton")
    with kernels.backend("triton"), pytest.raises(BackendError, match="adamw: backend 'triton' was asked for with CPU"):
        call(some())


def test_triton_does_not_take_float64():
    given = some()
    for name in ("params", "grads", "exp_avgs", "exp_avg_sqs", "averages"):
        given[name] = doubled(given[name])
    with kernels.backend("triton"), pytest.raises(InputError, match=r"adamw: got torch.float64, expected float32"):
        call(given)


def package(folder, name, **files):
    (folder / name).mkdir(parents=True)
    for file, text in {"__init__": "", **files}.items():
        (folder / name / f"{file}.py").write_text(text)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Make packages importable for one test, whatever is installed."""
    monkeypatch.syspath_prepend(tmp_path)
    names = ("apex", "apex.optimizers", "apex.optimizers.fused_adam", "apex.multi_tensor_apply", "amp_C")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    nvidia_apex._kernels.cache_clear()
    yield tmp_path
    nvidia_apex._kernels.cache_clear()
    for name in names:
        sys.modules.pop(name, None)


def test_apex_that_is_not_there_is_missed(monkeypatch):
    monkeypatch.setattr(nvidia_apex.importlib.util, "find_spec", lambda name: None)
    nvidia_apex._kernels.cache_clear()
    with kernels.backend(adamw="apex"), pytest.raises(MissingPackage, match="is not installed: build NVIDIA's from"):
        call(some())


def test_the_unrelated_apex_is_recognised_without_being_imported(installed):
    package(installed, "apex", lib="raise ImportError('must not be imported')")
    assert nvidia_apex.kind() == "other"
    with kernels.backend(adamw="apex"), pytest.raises(MissingPackage, match=r"no optimizers\.FusedAdam: it is"):
        call(some())
    assert "apex" not in sys.modules


def test_an_apex_without_its_cuda_kernels_is_said_to_be_one(installed):
    package(installed, "apex")
    package(installed / "apex", "optimizers", fused_adam="")
    with kernels.backend(adamw="apex"), pytest.raises(MissingPackage, match=r"without its CUDA kernels .*amp_C"):
        call(some())


# Only the names and the order of arguments are apex's: whether its kernels are right is not tested by this.
PRETENDED_APPLIER = """
def multi_tensor_applier(op, noop_flag, lists, *settings):
    return op(65536, noop_flag, lists, *settings)
"""
PRETENDED_KERNELS = """
import torch

calls = []

def multi_tensor_adam(chunk, flag, lists, lr, beta1, beta2, eps, step, mode, correction, decay):
    calls.append(("plain", type(step), mode, correction, int(flag)))
    g, p, m, v = lists
    count = torch.tensor(float(step))
    torch._fused_adamw_(p, g, m, v, [], [count] * len(p), lr=float(lr), beta1=beta1, beta2=beta2, weight_decay=decay,
                        eps=eps, amsgrad=False, maximize=False)

def multi_tensor_adam_capturable(chunk, flag, lists, lr, beta1, beta2, eps, step, mode, correction, decay, unscaled):
    assert lr.dtype == unscaled.dtype == torch.float32 and step.dtype == torch.int32
    multi_tensor_adam(chunk, flag, lists, lr, beta1, beta2, eps, step, mode, correction, decay)
    calls[-1] = ("capturable", *calls[-1][1:])
"""


@pytest.mark.parametrize("numbers", [float, torch.tensor], ids=["plain", "capturable"])
def test_dispatch_to_apex_with_a_pretended_one(numbers, installed, monkeypatch):
    package(installed, "apex")
    package(installed / "apex", "optimizers", fused_adam="")
    package(installed / "apex", "multi_tensor_apply", __init__=PRETENDED_APPLIER)
    (installed / "amp_C.py").write_text(PRETENDED_KERNELS)
    importlib.invalidate_caches()
    with kernels.backend(adamw="apex"), pytest.raises(BackendError, match="with tensors on cpu, expected CUDA"):
        call(some())
    monkeypatch.setattr(nvidia_apex, "_only_on", lambda device: None)
    wanted = by_adamw(3, clip=1.0, numbers=numbers)
    with kernels.backend(adamw="apex"):
        given = by_adamw(3, clip=1.0, numbers=numbers)
    for name, values in wanted.items():
        assert error(given[name], values) == 0, name
    calls = importlib.import_module("amp_C").calls
    kind = ("plain", int) if numbers is float else ("capturable", torch.Tensor)
    assert calls == [(*kind, 1, 1, 0)] * 3


def test_nvidias_apex_itself():
    if nvidia_apex.kind() != "nvidia" or not torch.cuda.is_available():
        pytest.skip("NVIDIA's apex is not installed, or there is no GPU for it")
    lists = [[torch.randn(n, device="cuda") for n in (7, 1025)] for _ in range(2)]
    results = []
    for backend in ("torch", "apex"):
        p, g = ([t.clone() for t in values] for values in lists)
        m, v = [torch.zeros_like(t) for t in p], [torch.zeros_like(t) for t in p]
        with kernels.backend(adamw=backend):
            for step in range(1, 101):
                kernels.adamw(p, [t.clone() for t in g], m, v, lr=1e-2, step=step, clip=1.0, **SETTINGS)
        results.append(p)
    assert error(*results) < 1e-6


def test_chunks_cover_every_element_once(monkeypatch):
    monkeypatch.setattr(table, "CHUNK", 64)
    sizes, aligned = (1, 64, 65, 200, 0, 130), (True, True, True, False, True, True)
    seen = [set() for _ in sizes]
    for tensor, first, wide, count in table.rows(sizes, aligned).tolist():
        assert 0 < count <= 64
        assert wide == (count // 16 if aligned[tensor] else 0)
        places = set(range(16 * first, 16 * first + count))
        assert not places & seen[tensor]
        seen[tensor] |= places
    assert [len(s) for s in seen] == list(sizes)
    assert [max(s, default=-1) + 1 for s in seen] == list(sizes)


def test_tables_are_made_once_and_again_when_an_address_moves():
    columns = [[torch.zeros(32), torch.zeros(5)] for _ in range(5)]
    first = table.table([*columns, []])
    assert table.table([*columns, []]) is first
    assert first.pointers[:, :5].tolist() == [[c[i].data_ptr() for c in columns] for i in range(2)]
    assert not first.pointers[:, 5:].any()
    moved = columns[1][0].clone()
    columns[1][0] = moved
    second = table.table([*columns, []])
    assert second is not first
    assert second.chunks is first.chunks, "the sizes are the same"
    assert int(second.pointers[0, 1]) == moved.data_ptr()
    columns[1][1] = torch.zeros(6)[1:]
    assert table.table([*columns, []]).chunks.tolist() == [[0, 0, 2, 32], [1, 0, 0, 5]], "one is not aligned"
    kept = [table.table([[torch.zeros(3)]] + [[]] * 5) for _ in range(table.KEPT + 1)]
    assert len(kept) > len(table._tables)


def test_a_table_is_not_made_while_a_graph_is_captured(monkeypatch):
    class Pretended:
        device = torch.device("cuda")

        def numel(self):
            return 3

        def data_ptr(self):
            return 64

    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(BackendError, match="addresses were not known before the graph was captured; take one step"):
        table.table([[Pretended()], *[[]] * 5])


def test_bytes_by_design():
    sizes, n = (3, 1025, 16384), 3 + 1025 + 16384
    whole = cost.step(sizes)
    assert (whole.useful, whole.moved) == (38 * n, 42 * n)
    assert cost.step(sizes, averaged=False, copies=None).useful == 28 * n
    assert cost.step(sizes, torch.bfloat16).useful == 36 * n
    assert cost.step(sizes, copies=torch.float32).useful == 40 * n


@pytest.mark.gpu
@pytest.mark.parametrize("grads", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("numbers", [float, torch.tensor], ids=["numbers", "tensors"])
def test_the_kernels_on_a_gpu_against_float64(numbers, grads):
    options = {"clip": 1.0, "grads": grads, "shapes": (*SHAPES, (40000,), (192, 64, 3, 3))}
    with kernels.backend("triton"):
        given = by_adamw(100, numbers=numbers, device="cuda", **options)
    exact = by_torch(100, dtype=torch.float64, foreach=False, fused=False, **options)
    plain = by_torch(100, dtype=torch.float32, fused=True, **options)
    for name, values in exact.items():
        ulp = torch.finfo(torch.bfloat16 if name == "copies" else torch.float32).eps
        # A rate and a decay in float32 are off by up to half a unit in every step.
        slack = 1 if numbers is float else 10
        assert error(given[name], values) <= slack * max(2 * error(plain[name], values), ulp), name


@pytest.mark.gpu
def test_a_captured_graph_reads_the_numbers_of_the_day():
    torch.manual_seed(6)
    sizes, results = (7, 1025, 40000), []
    first = [torch.randn(n, device="cuda") for n in sizes]
    g = [torch.randn(n, device="cuda") for n in sizes]
    for captured in (False, True):
        p, a = [t.clone() for t in first], [t.clone() for t in first]
        m, v = ([torch.zeros_like(t) for t in first] for _ in range(2))
        c = [torch.zeros_like(t, dtype=torch.bfloat16) for t in first]
        lr, count, decay = (torch.zeros((), device="cuda") for _ in range(3))

        def step(p=p, m=m, v=v, a=a, c=c, lr=lr, count=count, decay=decay):
            more = {"averages": a, "decay": decay, "copies": c}
            return kernels.adamw(p, g, m, v, lr=lr, step=count, clip=1.0, **more, **SETTINGS)

        # One step before, with a rate of 0, compiles the kernels and makes the table.
        count.fill_(1)
        decay.fill_(1)
        graph = torch.cuda.CUDAGraph()
        with kernels.backend("triton"):
            step()
            for t in (*m, *v):
                t.zero_()
            if captured:
                with torch.cuda.graph(graph):
                    step()
            for i in range(5):
                lr.fill_(0.1 / (i + 1))
                count.fill_(i + 1)
                decay.fill_(0.5)
                if captured:
                    graph.replay()
                else:
                    step()
        results.append([*p, *m, *v, *a, *c])
    assert all(torch.equal(a, b) for a, b in zip(*results))
    assert not any(torch.equal(a, b) for a, b in zip(results[1], first))
