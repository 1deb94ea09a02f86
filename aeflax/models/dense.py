"""Fully connected encoder and decoder; any example shape goes in, the same shape comes out."""

import math

import flax.linen as nn
import jax

from aeflax.models.layers import ACTIVATIONS, block, dense


class DenseEncoder(nn.Module):
    """Hidden layers before the bottleneck; none leaves the flattened input."""

    widths: tuple[int, ...]
    activation: str
    rematerialize: bool = False

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps [B, ...] to features [B, widths[-1]]."""
        hidden = images.reshape(images.shape[0], -1)
        for i, width in enumerate(self.widths):
            hidden = block(_hidden, self.rematerialize, i=i, width=width)(self, hidden)
        return hidden


class DenseDecoder(nn.Module):
    """The encoder mirrored, then one linear layer to the example's shape."""

    widths: tuple[int, ...]
    activation: str
    shape: tuple[int, ...]
    rematerialize: bool = False

    @nn.compact
    def __call__(self, code: jax.Array) -> jax.Array:
        """Maps a code [B, D] to logits [B, *shape]."""
        hidden = code
        for i, width in enumerate(self.widths):
            hidden = block(_hidden, self.rematerialize, i=i, width=width)(self, hidden)
        logits = dense(math.prod(self.shape), "output")(hidden)
        return logits.reshape(-1, *self.shape)


def _hidden(module: DenseEncoder | DenseDecoder, hidden: jax.Array, *, i: int, width: int) -> jax.Array:
    return ACTIVATIONS[module.activation](dense(width, f"dense_{i}")(hidden))
