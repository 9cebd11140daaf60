"""Modulation, layer normalisation, activation and dropout of the vector networks in one operation."""

from diffsda.kernels.film_layer_norm.op import film_layer_norm

__all__ = ["film_layer_norm"]
