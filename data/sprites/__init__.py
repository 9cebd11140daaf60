"""Characters in layers, rendered from the sheets of the game Flare: who and what they do are known exactly."""
