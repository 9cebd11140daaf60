"""Training: one step, the loop around it, and what makes it survive."""
