"""Tensor operations behind one contract each; a plain torch reference first."""
