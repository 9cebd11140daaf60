"""The code of a codebook nearest to every vector, without the matrix of distances."""

from diffsda.kernels.nearest_code.op import nearest_code

__all__ = ["nearest_code"]
