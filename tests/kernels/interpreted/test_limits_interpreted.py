"""What our kernels or the interpreter cannot do is refused: forward mode, bfloat16 products, odd dropout states."""

import pytest
import torch

from diffsda.errors import InputError
from diffsda.kernels import attention, backend, film_layer_norm, group_norm, nearest_code
from diffsda.kernels.launch import BackendError


def norm(x, **options):
    return group_norm(x, torch.ones(8), torch.zeros(8), groups=2, **options)


def test_forward_mode_is_refused_not_zero():
    x, t = torch.randn(2, 8, 3, 3), torch.randn(2, 8, 3, 3)
    _, wanted = torch.func.jvp(norm, (x,), (t,))  # auto: the reference
    assert wanted.norm() > 0
    with backend("triton"), pytest.raises(BackendError, match="forward-mode"):
        torch.func.jvp(norm, (x,), (t,))


def test_matrix_products_of_bfloat16_are_refused_here():
    q = torch.randn(2, 16, 24, dtype=torch.bfloat16)
    with backend("triton"):
        with pytest.raises(BackendError, match="bfloat16 wrongly"):
            attention(q, q, q)
        with pytest.raises(BackendError, match="bfloat16 wrongly"):
            nearest_code(q[0], q[1])
        few = q[0, :, :3].contiguous()
        assert torch.equal(nearest_code(few, few), torch.arange(16))  # differences, no products


@pytest.mark.parametrize("state", [(1, 2), torch.zeros(2), torch.zeros(3, dtype=torch.int64)])
def test_odd_dropout_states_are_refused(state):
    with backend("triton"):
        with pytest.raises(InputError, match="state"):
            norm(torch.randn(2, 8, 3, 3), dropout=0.5, state=state)
        with pytest.raises(InputError, match="state"):
            film_layer_norm(torch.randn(2, 8), torch.ones(8), torch.zeros(8), dropout=0.5, state=state)


def test_a_dropout_that_leaves_nothing_is_refused():
    with backend("triton"), pytest.raises(InputError, match="at most"):
        norm(torch.randn(2, 8, 3, 3), dropout=1 - 1e-9)
