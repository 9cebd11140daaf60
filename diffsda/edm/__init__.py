"""EDM: preconditioning, loss, noise schedule, Heun's method, stochastic encoding."""
