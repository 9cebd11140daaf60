"""Settings of DiViD: what its paper gives, and a named choice for everything it leaves open (docs/divid.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from diffsda.baselines.settings import MOST_WIDTH, Settings
from diffsda.errors import InputError

_WIDTHS = (
    *("channels", "encoder_width", "embedding", "static", "static_hidden", "dynamic", "width", "context"),
    *("feedforward", "vector_width"),
)
NORM_GROUPS = 32


@dataclass(frozen=True, kw_only=True)
class DiViDSettings(Settings):
    """DiViD for frames of any size with values from -1 to 1, or for vectors (ours: the paper knows video only)."""

    limits: ClassVar[Mapping[str, tuple[float, float]]] = {
        **dict.fromkeys(_WIDTHS, (1, MOST_WIDTH)),
        **dict.fromkeys(("multipliers", "encoder_multipliers"), (1, 64)),
        **dict.fromkeys(("blocks", "encoder_blocks"), (1, 16)),
        **dict.fromkeys(("dropout", "temporal_dropout"), (0, 0.99)),
        **dict.fromkeys(("layers", "vector_layers"), (1, 64)),
        **dict.fromkeys(("heads", "context_heads"), (1, 1024)),
        "size": (1, 4096),
        "attention": (1, 4096),
        "steps": (2, 100_000),
        "offset": (0, 1),
        "most_beta": (1e-6, 0.999999),
        "first_beta": (1e-9, 0.5),
        "last_beta": (1e-9, 0.5),
        "least_signal": (0, 0.5),
        "sampling_steps": (1, 100_000),
        "bound": (0, 1e6),
        "weight_orthogonality": (0, 1e9),
        "lr": (1e-12, 1e3),
        "batch": (1, 1_000_000),
        "epochs": (1, 10_000_000),
    }

    kind: Literal["video", "vector"] = "video"
    """What a frame is: an image (C, H, W), or a vector (F,) as in audio and series."""
    channels: int = 3
    """Channels C of an image, or features F of a vector."""
    size: int = 32
    """Height and width of an image."""

    encoder_width: int = 128
    """Video: channels of the frame encoder's first level. Vectors: its layer width."""
    encoder_multipliers: tuple[int, ...] = (1, 2, 4)
    encoder_blocks: int = 2
    """Residual blocks a level."""
    embedding: int = 3
    """Channels of a frame's embedding, after the 1 x 1 convolution."""
    static: int = 256
    """S, width of the static code."""
    static_hidden: int = 1024
    dynamic: int = 256
    """D, width of a dynamic code and of the Transformer."""
    temporal: Literal["transformer", "lstm"] = "transformer"
    """What reads the residuals; a bidirectional LSTM is an ablation."""
    layers: int = 4
    heads: int = 32
    feedforward: int = 1024
    temporal_dropout: float = 0.1
    normalise: bool = True
    """Set both codes to mean 0 and variance 1 over their width, so that no code can shrink its way to orthogonality."""

    width: int = 128
    """U-Net: channels of the first level."""
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    blocks: int = 2
    """U-Net: residual blocks a level on the way down (one more on the way up)."""
    attention: tuple[int, ...] = (32, 16, 8)
    """U-Net: heights with attention among pixels and to the codes; those that do not occur are passed over."""
    dropout: float = 0.0
    conditioning: Literal["cross_attention", "adagn"] = "cross_attention"
    """How the network reads the codes: attention to two tokens, or scale and shift in every norm (an ablation)."""
    context: int = 256
    """Width of the tokens and of the attention to them."""
    context_heads: int = 8
    vector_width: int = 256
    """Vectors: layer width of the network."""
    vector_layers: int = 4

    steps: int = 1000
    """Diffusion steps T."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """How signal turns into noise; linear is an ablation."""
    offset: float = 0.008
    """Cosine: how far the first step is from no noise at all."""
    most_beta: float = 0.999
    """Cosine: the largest share of the variance a step replaces."""
    first_beta: float = 1e-4
    last_beta: float = 2e-2
    shared_noise: bool = True
    """All frames of a clip get the same noise, in training and when sampling starts."""
    weight_orthogonality: float = 1e-3
    """Weight of the orthogonality term, the paper's lambda."""
    orthogonality: Literal["product", "cosine"] = "product"
    """Squared products of the codes (the paper's Eq. 4), or squared cosines, whatever their lengths."""
    sampling_steps: int = 50
    """Steps of DDIM, spaced evenly."""
    least_signal: float = 1e-3
    """Sampling starts at the last step with this share of signal: predicted noise is divided by the root of it."""
    bound: float | None = None
    """Predicted clean frames are held within plus and minus this while sampling; 0 leaves them free. None: 1 for video,
    free for vectors, which have no range of their own."""
    lr: float = 1e-4
    """Learning rate of AdamW."""
    batch: int = 8
    """Clips a step."""
    epochs: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.as_published:
            raise InputError("as_published: DiViD has no released code to agree with; leave it out")
        if self.sampling_steps > self.steps:
            raise InputError(f"sampling_steps: got {self.sampling_steps}, expected at most steps, {self.steps}")
        if self.first_beta > self.last_beta:
            raise InputError(f"first_beta: got {self.first_beta:g}, expected at most last_beta, {self.last_beta:g}")
        if self.temporal == "transformer" and self.dynamic % self.heads:
            raise InputError(f"heads: got {self.heads}, expected a divisor of dynamic, {self.dynamic}")
        if self.temporal == "lstm" and self.dynamic % 2:
            raise InputError(f"dynamic: got {self.dynamic}, expected an even width for two directions")
        if self.context % self.context_heads:
            raise InputError(f"context_heads: got {self.context_heads}, expected a divisor of context, {self.context}")
        if self.orthogonality_applies and self.static != self.dynamic:
            raise InputError(
                f"static: got {self.static} beside dynamic {self.dynamic}, expected the same width: orthogonality "
                "compares the codes (or set weight_orthogonality to 0)"
            )
        if self.kind == "video":
            self._check_widths("encoder_multipliers", self.encoder_multipliers, self.encoder_width)
            self._check_widths("multipliers", self.multipliers, self.width)

    @property
    def orthogonality_applies(self) -> bool:
        """Whether the loss has its second term."""
        return self.weight_orthogonality > 0

    @property
    def clean_bound(self) -> float | None:
        """The largest value of a clean frame, or None."""
        if self.bound is None:
            return 1.0 if self.kind == "video" else None
        return self.bound or None

    def _check_widths(self, name: str, multipliers: tuple[int, ...], width: int) -> None:
        if not multipliers or any(width * m % NORM_GROUPS for m in multipliers):
            raise InputError(
                f"{name}: got {multipliers} times {width}, expected widths that {NORM_GROUPS} normalisation groups "
                "divide"
            )
        smallest = 2 ** (len(multipliers) - 1)
        if self.size % smallest:
            raise InputError(f"size: got {self.size}, expected a multiple of {smallest} for {len(multipliers)} levels")


ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "w/o Orth": {"weight_orthogonality": 0.0},
    "w/ LSTM": {"temporal": "lstm"},
    "w/ AdaGN": {"conditioning": "adagn"},
    "w/ linear": {"schedule": "linear"},
}
"""The paper's ablations (its Table 2): what each changes, for ``settings.replace(**ABLATIONS[name])``."""
