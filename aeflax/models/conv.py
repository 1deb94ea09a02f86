"""Convolutional encoder and decoder for images of any height, width and channel count."""

import functools
import math

import flax.linen as nn
import jax
from jax import lax

from aeflax.models.layers import ACTIVATIONS, Conv, Norm, SubPixelConv, block, dense, max_pool


class ConvEncoder(nn.Module):
    """Convolutions that lead down; the last feature map is flattened unless the code is spatial."""

    features: tuple[int, ...]
    kernel: int
    stride: int
    activation: str
    use_bias: bool
    normalization: str
    spatial: bool
    down: str = "stride"
    rematerialize: bool = False

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps [B, H, W, C] to features [B, h·w·F], or to a map [B, h, w, F] if spatial."""
        maps = images
        for i in range(len(self.features)):
            maps = block(_down, self.rematerialize, i=i)(self, maps)
        return maps if self.spatial else maps.reshape(maps.shape[0], -1)


class ConvDecoder(nn.Module):
    """Convolutions back up; what odd sizes leave over is cropped, so the input's shape comes out."""

    features: tuple[int, ...]  # of the encoder, first layer first
    kernel: int
    stride: int
    activation: str
    use_bias: bool
    normalization: str
    spatial: bool
    sizes: tuple[tuple[int, int], ...]  # height and width before the first layer and after each
    channels: int
    up: str = "sub-pixel"
    rematerialize: bool = False

    @nn.compact
    def __call__(self, code: jax.Array) -> jax.Array:
        """Maps a code [B, D] to logits [B, H, W, C]."""
        height, width = self.sizes[-1]
        if not self.spatial:
            code = block(_spread, self.rematerialize)(self, code)
        maps = code.reshape(-1, height, width, self.features[-1])
        for i in range(len(self.features)):
            maps = block(_up, self.rematerialize, i=i)(self, maps)
        return maps if self.up == "sub-pixel" else Conv(self.channels, self.kernel, name="output")(maps)


def _down(module: ConvEncoder, maps: jax.Array, *, i: int) -> jax.Array:
    pools = module.down == "max-pool"
    stride = 1 if pools else module.stride
    maps = Conv(module.features[i], module.kernel, stride, module.use_bias, name=f"conv_{i}")(maps)
    maps = ACTIVATIONS[module.activation](Norm(module.normalization, name=f"norm_{i}")(maps))
    return max_pool(maps, module.stride) if pools else maps


def _spread(module: ConvDecoder, code: jax.Array) -> jax.Array:
    units = math.prod(module.sizes[-1]) * module.features[-1]
    return ACTIVATIONS[module.activation](dense(units, "input")(code))


def _up(module: ConvDecoder, maps: jax.Array, *, i: int) -> jax.Array:
    transposed = module.up == "transposed"
    features = (*reversed(module.features[:-1]), module.features[0] if transposed else module.channels)[i]
    height, width = module.sizes[-2 - i]
    last = i == len(module.features) - 1 and not transposed
    # The output always has a bias: it sets the image's mean.
    layer = functools.partial(Conv, transposed=True) if transposed else SubPixelConv
    maps = layer(features, module.kernel, module.stride, module.use_bias or last, name=f"up_{i}")(maps)
    maps = lax.slice(maps, (0, 0, 0, 0), (maps.shape[0], height, width, features))
    return maps if last else ACTIVATIONS[module.activation](Norm(module.normalization, name=f"norm_{i}")(maps))
