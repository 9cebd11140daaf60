"""Recurrent networks with lengths."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from diffsda.nn.recurrent import Recurrent, real_rows, reverse, valid


@st.composite
def padded(draw):
    frames = draw(st.integers(1, 7))
    lengths = draw(st.lists(st.integers(1, frames), min_size=1, max_size=4))
    x = torch.randn(len(lengths), frames, 2, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    return x, torch.tensor(lengths)


@given(padded())
def test_reversing_twice_is_the_identity(case):
    x, lengths = case
    assert torch.equal(reverse(reverse(x, lengths), lengths), x)
    assert torch.equal(reverse(reverse(x, None), None), x)
    once = reverse(x, lengths)
    for clip, turned, n in zip(x, once, lengths.tolist(), strict=True):
        assert torch.equal(turned[:n], clip[:n].flip(0))
        assert torch.equal(turned[n:], clip[n:])


@given(padded())
def test_real_frames(case):
    x, lengths = case
    real = valid(lengths, x.shape[1])
    assert real.sum(1).tolist() == lengths.tolist()
    rows = real_rows(lengths, x.shape[1])
    if bool((lengths == x.shape[1]).all()):
        assert rows is None
    else:
        assert rows.tolist() == [i for i, r in enumerate(real.flatten().tolist()) if r]
    assert valid(None, 3) is None
    assert real_rows(None, 3) is None


def test_two_directions_equal_torch_s_packed_bidirectional_lstm():
    net = Recurrent(3, 4, bidirectional=True).double()
    whole = torch.nn.LSTM(3, 4, batch_first=True, bidirectional=True).double()
    for name, value in net.forward_lstm.named_parameters():
        whole.get_parameter(name).data.copy_(value)
    for name, value in net.backward_lstm.named_parameters():
        whole.get_parameter(f"{name}_reverse").data.copy_(value)
    x, lengths = torch.randn(3, 6, 3).double(), torch.tensor([6, 2, 4])
    states, summary = net(x)
    wanted, _ = whole(x)
    torch.testing.assert_close(states, wanted)
    torch.testing.assert_close(summary, torch.cat([wanted[:, -1, :4], wanted[:, 0, 4:]], 1))
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    held, (last, _) = whole(packed)
    wanted, _ = torch.nn.utils.rnn.pad_packed_sequence(held, batch_first=True)
    states, summary = net(x, lengths)
    for given_, expected, n in zip(states, wanted, lengths.tolist(), strict=True):
        torch.testing.assert_close(given_[:n], expected[:n])
    torch.testing.assert_close(summary, torch.cat([last[0], last[1]], 1))


def test_forward_only():
    net = Recurrent(3, 4, bidirectional=False)
    states, summary = net(torch.randn(2, 5, 3), torch.tensor([5, 3]))
    assert net.backward_lstm is None
    assert states.shape == (2, 5, 4)
    assert torch.equal(summary[1], states[1, 2])


def test_starting_weights():
    net = Recurrent(200, 50, bidirectional=True)
    bound = (6 / (200 + 4 * 50)) ** 0.5
    assert 0.98 * bound < net.forward_lstm.weight_ih_l0.abs().max().item() <= bound
    assert not net.forward_lstm.bias_ih_l0.any()
    for value in (net.forward_lstm.bias_hh_l0, *net.backward_lstm.parameters()):
        assert 0.8 * 50**-0.5 < value.abs().max().item() <= 50**-0.5
