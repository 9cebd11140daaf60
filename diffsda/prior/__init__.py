"""The latent prior: a small diffusion model of whole sets of factors z = [s | d_1 .. d_V]."""
