"""Flax Linen modules: backbones, bottlenecks, and the autoencoder that composes them."""
