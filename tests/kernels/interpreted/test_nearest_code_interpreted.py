"""nearest_code's kernels in Triton's interpreter against every distance in float64.

Products (D > 8) in float32 and float16 only: the interpreter's products of bfloat16 operands are garbage.
"""

import pytest
import torch
from counting import counting

from diffsda.errors import InputError
from diffsda.kernels import backend
from diffsda.kernels.nearest_code import cost, nearest_code, op, reference
from diffsda.kernels.nearest_code.plan import LARGEST

BF16, HALF, SINGLE = torch.bfloat16, torch.float16, torch.float32


def ours(x, codebook):
    with backend("triton"):
        return nearest_code(x, codebook)


def compare(x, codebook):
    """Demand the best code up to float32's rounding, and the same one wherever the margin is larger than that."""
    x64, book = x.double(), codebook.double()
    distances = (x64[:, None] - book).square().sum(2)
    found = ours(x, codebook)
    assert found.dtype == torch.int64
    assert found.shape == x.shape[:1]
    if x.shape[1] <= reference.DIRECT:
        # Relative to the distance: each of D + 1 roundings, and the difference's, counted twice by the square.
        rounding = (x.shape[1] + 4) * 2.0**-24 * distances
    else:
        scale = (x64.abs() @ book.abs().t()) * 2 + book.square().sum(1)
        rounding = (x.shape[1] + 4) * 2.0**-24 * scale
    best, index = distances.min(1)
    at = found[:, None]
    allowed = rounding.gather(1, at)[:, 0] + rounding.gather(1, index[:, None])[:, 0]
    assert (distances.gather(1, at)[:, 0] - best <= allowed).all()
    if codebook.shape[0] > 1:
        second = distances.scatter(1, index[:, None], torch.inf).min(1).values
        clear = second - best > 2 * rounding.max(1).values
        assert clear.float().mean() > 0.9  # or the next line would prove nothing
        assert torch.equal(found[clear], index[clear])
    return found


SHAPES = [
    pytest.param(70, 100, 4, id="more rows than a program, codes not a multiple of a block"),
    pytest.param(64, 64, 3, id="whole blocks"),
    pytest.param(5, 40, 1, id="one column"),
    pytest.param(9, 33, 8, id="the widest compared directly"),
    pytest.param(9, 70, 9, id="the narrowest compared by products"),
    pytest.param(65, 130, 40, id="products over two chunks, the last one partial"),
    pytest.param(3, 1, 4, id="one code"),
    pytest.param(3, 1, 256, id="one code, wide"),
]


@pytest.mark.parametrize("dtype", [SINGLE, HALF], ids=["float32", "float16"])
@pytest.mark.parametrize(("n", "k", "d"), SHAPES)
def test_every_distance(n, k, d, dtype):
    compare(torch.randn(n, d).to(dtype), torch.randn(k, d).to(dtype))


@pytest.mark.parametrize(("d", "kinds"), [(4, (BF16, BF16)), (4, (BF16, SINGLE)), (20, (BF16, SINGLE))])
def test_low_precision_and_mixed_types(d, kinds):
    compare(torch.randn(40, d).to(kinds[0]), torch.randn(50, d).to(kinds[1]))


@pytest.mark.parametrize("d", [4, 20], ids=["direct", "products"])
def test_strides(d):
    x, codebook = torch.randn(2 * d, 40).t()[:, ::2], torch.randn(2 * d, 50).t()[:, ::2]
    assert torch.equal(compare(x, codebook), ours(x.contiguous(), codebook.contiguous()))
    one = torch.randn(1, d).expand(9, d)
    assert len(ours(one, codebook).unique()) == 1


@pytest.mark.parametrize("d", [2, 16], ids=["direct", "products"])
def test_the_lowest_of_equals(d):
    """Codes repeat within a block, across lanes and across blocks."""
    some = torch.randint(-3, 4, (40, d)).float()
    codebook = some.repeat(4, 1)[torch.randperm(160)]
    x = codebook[torch.randperm(160)[:70]]
    first = (x[:, None] == codebook).all(2).float().argmax(1)
    assert torch.equal(ours(x, codebook), first)
    assert (ours(torch.full((3, d), 9.0), torch.ones(100, d)) == 0).all()


def test_rows_without_a_distance_take_code_0():
    x = torch.tensor([[torch.nan, 0.0], [torch.inf, 0.0], [1.0, 1.0]])
    codebook = torch.tensor([[5.0, 5.0], [1.0, 1.0]])
    assert ours(x, codebook).tolist() == nearest_code(x, codebook).tolist() == [0, 0, 1]


def test_everything_is_written(monkeypatch):
    new = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda self, *a, **o: new(self, *a, **o).fill_(-7))
    for d in (3, 12):
        x, codebook = torch.randn(67, d), torch.randn(40, d)
        assert torch.equal(op.search(x, codebook), reference.nearest_code(x, codebook))


def test_no_rows():
    assert ours(torch.empty(0, 4), torch.randn(5, 4)).shape == (0,)


@pytest.mark.parametrize("d", [4, 20], ids=["direct", "products"])
def test_bytes_are_what_the_cost_says(d):
    x, codebook = torch.randn(130, d), torch.randn(96, d)
    with counting() as traffic:
        index = op.search(x, codebook)
    moved = cost.forward(130, 96, d, SINGLE)
    # The direct kernel reads a copy of the codebook: count that by what is left.
    assert traffic.useful(x, index) == moved.useful - codebook.numel() * 4
    assert traffic.moved == moved.moved


@pytest.mark.parametrize("d", [4, 20], ids=["direct", "products"])
def test_opcheck_and_compile(d):
    x, codebook = torch.randn(20, d, requires_grad=True), torch.randn(30, d)
    torch.library.opcheck(torch.ops.diffsda.nearest_code.default, (x.detach(), codebook))

    def call(x, codebook):
        with backend("triton"):
            return nearest_code(x * 2, codebook)

    torch._dynamo.reset()
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, codebook), call(x, codebook))
    assert not call(x, codebook).requires_grad


def test_autocast_does_not_lower_the_precision():
    x, codebook = torch.randn(70, 24), torch.randn(90, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        compare(x, codebook)


def test_refusals_of_our_kernel_only():
    x = torch.randn(3, 4, dtype=torch.float64)
    with pytest.raises(InputError, match="float64, expected float32"):
        ours(x, x)
    with pytest.raises(InputError, match="float64, expected float32"):
        ours(x.float(), x)
    assert nearest_code(x, x).tolist() == [0, 1, 2]
    many = torch.zeros(1, 1).expand(LARGEST + 1, 1)
    with pytest.raises(InputError, match="expected at most 268435456 codes"):
        ours(torch.zeros(1, 1), many)


@pytest.mark.parametrize("answer", ["compare", "triton"])
def test_auto_leaves_the_rest_to_the_reference(monkeypatch, answer):
    monkeypatch.setattr(op, "resolve", lambda *_: answer)
    x, codebook = torch.randn(30, 5), torch.randn(20, 5)
    wanted = reference.nearest_code(x, codebook)
    with counting() as traffic:
        assert torch.equal(nearest_code(x, codebook), wanted)
    assert set(traffic.kernels) == {"nearest_direct"}
    with counting() as traffic:
        assert torch.equal(nearest_code(x.double(), codebook), wanted)
        assert nearest_code(x[:0], codebook).shape == (0,)
    assert not traffic.kernels
