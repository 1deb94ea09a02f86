"""Convolutional encoder and decoder for images of any height, width and channel count."""

import flax.linen as nn
import jax
from jax import lax

from aeflax.models.layers import ACTIVATIONS, Conv, Norm, SubPixelConv, dense


class ConvEncoder(nn.Module):
    """Strided convolutions; the last feature map is flattened unless the code is spatial."""

    features: tuple[int, ...]
    kernel: int
    stride: int
    activation: str
    use_bias: bool
    normalization: str
    spatial: bool

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Maps [B, H, W, C] to features [B, h·w·F], or to a map [B, h, w, F] if spatial."""
        maps = images
        for i, features in enumerate(self.features):
            maps = Conv(features, self.kernel, self.stride, self.use_bias, name=f"conv_{i}")(maps)
            maps = ACTIVATIONS[self.activation](Norm(self.normalization, name=f"norm_{i}")(maps))
        return maps if self.spatial else maps.reshape(maps.shape[0], -1)


class ConvDecoder(nn.Module):
    """Sub-pixel convolutions back up; what odd sizes leave over is cropped, so the input's shape comes out."""

    features: tuple[int, ...]  # of the encoder, first layer first
    sizes: tuple[tuple[int, int], ...]  # height and width before the first layer and after each
    channels: int
    kernel: int
    stride: int
    activation: str
    use_bias: bool
    normalization: str
    spatial: bool

    @nn.compact
    def __call__(self, code: jax.Array) -> jax.Array:
        """Maps a code [B, D] to logits [B, H, W, C]."""
        activation = ACTIVATIONS[self.activation]
        height, width = self.sizes[-1]
        if not self.spatial:
            code = activation(dense(height * width * self.features[-1], "input")(code))
        maps = code.reshape(-1, height, width, self.features[-1])
        outputs = (*reversed(self.features[:-1]), self.channels)
        for i, (features, (height, width)) in enumerate(zip(outputs, reversed(self.sizes[:-1]), strict=True)):
            last = i == len(outputs) - 1
            # The output always has a bias: it sets the image's mean.
            maps = SubPixelConv(features, self.kernel, self.stride, self.use_bias or last, name=f"up_{i}")(maps)
            maps = lax.slice(maps, (0, 0, 0, 0), (maps.shape[0], height, width, features))
            if not last:
                maps = activation(Norm(self.normalization, name=f"norm_{i}")(maps))
        return maps
