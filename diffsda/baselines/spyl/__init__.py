"""SPYL: sample and predict your latent, contrastive sequential disentanglement."""
