"""Metrics, one a file, and the protocols that use them."""
