"""Other systems of sequential disentanglement behind the same protocol, to compare with."""
