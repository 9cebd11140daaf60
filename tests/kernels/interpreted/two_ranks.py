"""One of two processes that train a small block on our kernels, data-parallel; writes its gradients."""

import sys

import torch
from torch import distributed

from diffsda.kernels import backend, group_norm
from diffsda.kernels.dropout import DropoutState


class Block(torch.nn.Module):
    """A norm and a convolution, with dropout from a state of the rank's own."""

    def __init__(self, state, dropout):
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.conv = torch.nn.GroupNorm(4, 16), torch.nn.Conv2d(16, 16, 1)
        self.state, self.dropout = state, dropout

    def forward(self, x):
        one = self.norm
        y = group_norm(x, one.weight, one.bias, groups=4, dropout=self.dropout, state=self.state)
        self.dropped = (y == 0).detach()
        return self.conv(y)


def clips():
    return torch.randn(4, 16, 4, 4, generator=torch.Generator().manual_seed(1))


def main(rank, port, out):
    rank = int(rank)
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    found = {}
    for dropout in (0.0, 0.5):
        block = Block(DropoutState(rank, "cpu").tensor, dropout)
        model = torch.nn.parallel.DistributedDataParallel(block)
        with backend("triton"):
            model(clips()[2 * rank : 2 * rank + 2]).square().mean().backward()
        found[dropout] = {"grads": [p.grad for p in block.parameters()], "dropped": block.dropped}
    torch.save(found, f"{out}/rank{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
