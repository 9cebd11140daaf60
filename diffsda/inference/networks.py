"""The encoder and the denoising network of a model, prepared for inference."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from diffsda.denoiser import Denoiser
from diffsda.edm.precondition import c_noise
from diffsda.edm.sampler import Evaluate
from diffsda.encoder import SequenceEncoder
from diffsda.inference.form import Form
from diffsda.inference.mlp import PreparedFrameMLP, PreparedMLP
from diffsda.inference.unet import PreparedUNet
from diffsda.nn.mlp import MLPBackbone, MLPFrameEncoder
from diffsda.nn.modulation import Tables, fold
from diffsda.nn.recurrent import Recurrent
from diffsda.nn.unet import UNet
from diffsda.recipe import Recipe

Network = Callable[[Tensor, Tensor, Tensor], Tensor]
"""x (N, ...), scale and shift (N, sum C) -> like x."""


class PreparedDenoiser:
    """A denoiser's conditioning and network: noise rows once a plan, factor rows once a sample, the rest a step."""

    def __init__(self, denoiser: Denoiser, form: Form) -> None:
        backbone = denoiser.backbone
        self.modulation = copy.deepcopy(backbone.modulation).eval().requires_grad_(False)
        self.network: Network
        self.buffered: PreparedMLP | None = None
        if isinstance(backbone, MLPBackbone):
            self.network = copy.deepcopy(backbone).eval().requires_grad_(False).to(form.dtype).network
            if form.buffers:
                self.buffered = PreparedMLP(backbone)
        else:
            self.network = _sliced(PreparedUNet(backbone.unet, form).eval(), self.modulation.slices())

    def noise_rows(self, levels: tuple[float, ...]) -> Tensor:
        """Return the noise half of the tables for these levels, (R, 2 sum C)."""
        sigma = torch.tensor(levels, dtype=torch.float64, device="cpu")
        weight = self.modulation.noise_proj.weight
        return self.modulation.noise_table(c_noise(sigma).to(weight.device, weight.dtype, non_blocking=True))

    def evaluator(self, noise: Tensor, a: Tensor) -> Evaluate:
        """Return the sampler's callable for some noise rows and the factors a (N, D + S)."""
        factor = self.modulation.factor_table(a)
        if self.buffered is not None:
            return self.buffered.evaluator(Tables(noise, factor))
        network = self.network

        def evaluate(scaled: Tensor, level: int) -> Tensor:
            return network(scaled, *fold(noise[level], factor))

        return evaluate


class PreparedEncoder(nn.Module):
    """A sequence encoder with its frame network prepared; the recurrent part keeps the model's type.

    ``rows``: frames the frame network works on at once, or None for all there are. The recurrent part, a short step
    a frame, always takes all clips.
    """

    def __init__(self, encoder: SequenceEncoder, recipe: Recipe, form: Form, rows: int | None = None) -> None:
        super().__init__()
        with torch.device("meta"):  # No memory, and no numbers drawn.
            twin = SequenceEncoder(recipe)
        state = {k: v.detach().clone() for k, v in encoder.state_dict().items()}
        twin.load_state_dict(state, assign=True)
        frame = encoder.frame
        if isinstance(frame, UNet):
            twin.frame = _Cast(PreparedUNet(frame, form), form.dtype)
        elif form.buffers:
            assert isinstance(frame, MLPFrameEncoder)
            twin.frame = PreparedFrameMLP(frame)
        elif next(frame.parameters()).dtype != form.dtype:
            twin.frame = _Cast(copy.deepcopy(frame).to(form.dtype), form.dtype)
        if twin.recurrent.backward_lstm is not None:
            twin.recurrent = _BothWays(twin.recurrent)  # type: ignore[assignment]
        if next(encoder.parameters()).device.type == "cpu":
            twin.dynamic_rnn = _TanhSteps(twin.dynamic_rnn)  # type: ignore[assignment]
        if rows is not None:
            twin.frame = _InTiles(twin.frame, rows)
        for part in twin.modules():
            if isinstance(part, nn.RNNBase):
                part.flatten_parameters()  # cuDNN wants the weights in one piece; nothing happens on a CPU.
        self.twin = twin.eval().requires_grad_(False)

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the static and the dynamic factors."""
        factors = self.twin(x, lengths)
        return factors.static, factors.dynamic


class _Cast(nn.Module):
    """A network in a type of its own."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.to(self.dtype)).to(x.dtype).contiguous()


class _BothWays(nn.Module):
    """A recurrent part that runs both directions in one call where clips are whole."""

    def __init__(self, recurrent: Recurrent) -> None:
        super().__init__()
        self.ragged = recurrent
        ahead, back = recurrent.forward_lstm, recurrent.backward_lstm
        assert back is not None
        with torch.device("meta"):
            both = nn.LSTM(ahead.input_size, ahead.hidden_size, batch_first=True, bidirectional=True)
        reverse = {f"{name}_reverse": value for name, value in back.state_dict().items()}
        both.load_state_dict(ahead.state_dict() | reverse, assign=True)
        self.both, self.hidden = both, ahead.hidden_size

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if lengths is not None:
            return self.ragged(x, lengths)
        states = self.both(x)[0]
        return states, torch.cat([states[:, -1, : self.hidden], states[:, 0, self.hidden :]], dim=1)


class _TanhSteps(nn.Module):
    """A tanh RNN on the CPU, in the memory of its products with the input: two operations a frame in place of three."""

    def __init__(self, rnn: nn.RNN) -> None:
        super().__init__()
        weights = {name: value.detach() for name, value in rnn.named_parameters()}
        self.register_buffer("into", weights["weight_ih_l0"].t())
        self.register_buffer("onward", weights["weight_hh_l0"].t().contiguous())
        self.register_buffer("bias", weights["bias_ih_l0"] + weights["bias_hh_l0"])

    into: Tensor
    onward: Tensor
    bias: Tensor

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        frames, batch = x.shape[1], x.shape[0]
        states = torch.addmm(self.bias, x.transpose(0, 1).reshape(frames * batch, -1), self.into)
        states = states.unflatten(0, (frames, batch))
        first, *rest = states.unbind(0)
        before = first.tanh_()
        for row in rest:
            before = row.addmm_(before, self.onward).tanh_()
        return states.transpose(0, 1), None


class _InTiles(nn.Module):
    """A network of independent rows, run on a few of them at a time."""

    def __init__(self, network: nn.Module, rows: int) -> None:
        super().__init__()
        self.network, self.rows = network, rows

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] <= self.rows:
            return self.network(x)
        return torch.cat([self.network(part) for part in x.split(self.rows)])


def _sliced(network: nn.Module, slices: list[slice]) -> Network:
    def run(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return network(x, [scale[:, s] for s in slices], [shift[:, s] for s in slices])

    return run
