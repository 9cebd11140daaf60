"""Other systems of sequential disentanglement behind one protocol, to compare with."""
