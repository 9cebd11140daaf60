"""The codebook of a vector-quantised first stage: nearest codes, and how many of them are in use."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from diffsda.kernels.nearest_code import nearest_code


class Codebook(nn.Module):
    """K codes of D channels; every cell of a latent goes to the nearest one.

    Source: VQGAN's quantiser: uniform start in [-1/K, 1/K].
    """

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, width)
        nn.init.uniform_(self.embedding.weight, -1 / codes, 1 / codes)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nearest codes and their indices; gradients reach the codes, not z.

        Shapes: z (N, D, h, w) -> (N, D, h, w), (N, h, w) int64.
        """
        n, width, h, w = z.shape
        rows = z.permute(0, 2, 3, 1).reshape(-1, width)
        indices = nearest_code(rows, self.embedding.weight)
        codes = self.embedding(indices).reshape(n, h, w, width).permute(0, 3, 1, 2)
        return codes.contiguous(), indices.reshape(n, h, w)

    def used(self, indices: Tensor) -> Tensor:
        """Return which codes occur among indices, (K,) booleans."""
        seen = torch.zeros(self.embedding.num_embeddings, dtype=torch.bool, device=indices.device)
        seen[indices.flatten()] = True
        return seen

    @torch.no_grad()
    def revive(self, used: Tensor, z: Tensor, generator: torch.Generator) -> int:
        """Move the codes that are not used onto latents drawn at random; return how many.

        Shapes: used (K,) booleans, z (N, D, h, w).
        Source: Dhariwal et al. 2020 (Jukebox), random restarts.
        """
        dead = (~used).nonzero()[:, 0]
        rows = z.detach().permute(0, 2, 3, 1).reshape(-1, z.shape[1])
        drawn = torch.randint(len(rows), (len(dead),), generator=generator).to(z.device)
        self.embedding.weight[dead] = rows[drawn].to(self.embedding.weight.dtype)
        return len(dead)
