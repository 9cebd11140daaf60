"""Priors and first stages by other means: as graphs of an exported folder, or prepared for inference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffsda.errors import InputError
from diffsda.export.session import ExportedSession
from diffsda.export.stage_graphs import Decode, Encode
from diffsda.firststage.autoencoder import Autoencoder
from diffsda.firststage.files import Model
from diffsda.firststage.recipe import FirstStage
from diffsda.inference.subpixel import upsample
from diffsda.kernels.nearest_code import nearest_code
from diffsda.prior.diffusion import Move, follow
from diffsda.prior.latent import LatentPrior, Sizes
from diffsda.prior.recipe import Prior


class ExportedPrior(LatentPrior):
    """The prior of an exported folder: samples and inversions, without weights of its own.

    Raises: InputError if the folder has none.
    """

    def __init__(self, session: ExportedSession) -> None:
        held = session.manifest.prior
        if held is None:
            raise InputError(f"{session.folder}: holds no prior, expected one exported with --prior")
        nn.Module.__init__(self)
        self.recipe = Prior.from_dict(held["recipe"])
        self.sizes = Sizes(static=held["static"], dynamic=held["dynamic"], frames=held["frames"])
        self.owner, self.provenance = None, {}
        self._session = [session]  # In a list: no part of this module.
        like = session._like()
        self.register_buffer("mean", like.new_tensor(held["mean"]))
        self.register_buffer("std", like.new_tensor(held["std"]))

    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        """Return the noise seen in z (B, M) at steps t (B,)."""
        return self._session[0].part("prior", z, t)

    def _follow(
        self,
        z: Tensor,
        moves: Sequence[Move],
        fresh: Callable[[], Tensor] | None,
        progress: Callable[[Iterable[Any]], Iterable[Any]],
    ) -> Tensor:
        def noise(z: Tensor, i: int) -> Tensor:
            return self.predict(z, z.new_full((len(z),), float(moves[i].t)))

        return follow(noise, z, moves, fresh=fresh, progress=progress)


class ExportedStage(Autoencoder):
    """The first stage of an exported folder.

    Raises: InputError if the folder has none.
    """

    def __init__(self, session: ExportedSession) -> None:
        held = session.manifest.first_stage
        if held is None:
            raise InputError(f"{session.folder}: holds no first stage, expected one exported with --first-stage")
        nn.Module.__init__(self)
        self.stage, self._digest = FirstStage.from_dict(held["stage"]), str(held["digest"])
        self.provenance = {}
        self._session = [session]
        self.place = nn.Parameter(torch.empty_like(session._like()), requires_grad=False)

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents of frames; see ``Autoencoder.encode``."""
        self.check_frames(x)
        return self._session[0].part("first_stage_encoder", x)

    def decode(self, z: Tensor) -> Tensor:
        """Return the frames of latents; see ``Autoencoder.decode``."""
        self.check_latents(z)
        return self._session[0].part("first_stage_decoder", z)

    @property
    def device(self) -> torch.device:
        """Where the session works."""
        return self.place.device

    def digest(self) -> str:
        """Return the digest of the first stage that was exported."""
        return self._digest


def _nearest(rows: Tensor, book: Tensor) -> Tensor:
    """Find the nearest codes without holding all distances."""
    return nearest_code(rows.reshape(-1, rows.shape[-1]), book).reshape(rows.shape[:-1])


class PreparedStage(Autoencoder):
    """A first stage in a lower precision: float32 in and out, codes found in float32, doubled images convolved once.

    channels_last on CUDA. Later changes of the first stage's weights do not reach it.
    """

    def __init__(self, model: Model, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.stage, self.provenance, self._digest = model.stage, dict(model.provenance), model.digest()
        layout = torch.channels_last if model.device.type == "cuda" else torch.contiguous_format
        self.place = nn.Parameter(torch.empty(0, device=model.device), requires_grad=False)
        self.encoding, self.decoding = Encode(model, dtype), Decode(model, dtype, upsample, _nearest)
        self.to(memory_format=layout)  # type: ignore[call-overload]

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents of frames; see ``Autoencoder.encode``."""
        self.check_frames(x)
        return self.encoding(x)

    def decode(self, z: Tensor) -> Tensor:
        """Return the frames of latents; see ``Autoencoder.decode``."""
        self.check_latents(z)
        return self.decoding(z)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.place.device

    def digest(self) -> str:
        """Return the digest of the first stage that was prepared."""
        return self._digest
