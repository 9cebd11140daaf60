"""DiViD: what the first frame holds against what the others change, decoded by diffusion with shared noise."""
