"""Convolutions with one set of parameters and one result on every platform.

XLA's own convolution gradients are 12 to 16 times slower than they need be on CPU, so there the same sum is
written as strided slices times a matrix; GPU and TPU get the native operation.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "elu": nn.elu,
    "gelu": nn.gelu,
    "silu": nn.silu,
    "tanh": nn.tanh,
    "sigmoid": nn.sigmoid,
    "linear": lambda x: x,
}

# Glorot & Bengio (2010), as in Keras: 784-64-784 on MNIST then reaches the classic example's figure.
KERNEL_INIT = nn.initializers.glorot_uniform()


def dense(features: int, name: str, bias: float = 0.0) -> nn.Dense:
    """A dense layer on the last axis whose bias starts at a constant."""
    return nn.Dense(features, kernel_init=KERNEL_INIT, bias_init=nn.initializers.constant(bias), name=name)


def _padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after one axis such that ceil(size / stride) outputs result ("SAME")."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def convolve(images: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """2-D convolution with SAME padding: [B, H, W, C], [k, k, C, F] -> [B, ⌈H/s⌉, ⌈W/s⌉, F]."""
    return lax.platform_dependent(  # type: ignore[no-any-return]
        images,
        kernel,
        cpu=lambda x, w: _convolve_by_patches(x, w, stride),
        default=lambda x, w: lax.conv_general_dilated(
            x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        ),
    )


def _convolve_by_patches(images: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    batch, height, width, channels = images.shape
    side_y, side_x, _, features = kernel.shape
    rows, columns = -(-height // stride), -(-width // stride)
    padding = (0, 0), _padding(height, side_y, stride), _padding(width, side_x, stride), (0, 0)
    padded = jnp.pad(images, padding)

    def shifted(y: int, x: int) -> jax.Array:
        stop = (batch, y + (rows - 1) * stride + 1, x + (columns - 1) * stride + 1, channels)
        return lax.slice(padded, (0, y, x, 0), stop, (1, stride, stride, 1))

    patches = jnp.concatenate([shifted(y, x) for y in range(side_y) for x in range(side_x)], axis=-1)
    return patches @ kernel.reshape(-1, features)


class Conv(nn.Module):
    """Strided convolution with SAME padding: [B, H, W, C] -> [B, ⌈H/s⌉, ⌈W/s⌉, features]."""

    features: int
    kernel: int = 3
    stride: int = 1
    use_bias: bool = True

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Applies the convolution."""
        shape = (self.kernel, self.kernel, images.shape[-1], self.features)
        kernel = self.param("kernel", KERNEL_INIT, shape)
        out = convolve(images, kernel, self.stride)
        if self.use_bias:
            out = out + self.param("bias", nn.initializers.zeros_init(), (self.features,))
        return out


class SubPixelConv(nn.Module):
    """Upsampling by rearranging channels (Shi et al. 2016): [B, h, w, C] -> [B, h·s, w·s, features]."""

    features: int
    kernel: int = 3
    stride: int = 2
    use_bias: bool = True

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        """Convolves to s² times the features, then moves them into space."""
        batch, height, width, _ = maps.shape
        s, f = self.stride, self.features
        out = Conv(f * s * s, self.kernel, 1, self.use_bias, name="conv")(maps)
        out = out.reshape(batch, height, width, f, s, s).transpose(0, 1, 4, 2, 5, 3)
        return out.reshape(batch, height * s, width * s, f)


class Norm(nn.Module):
    """Layer or group normalisation over channels, or nothing."""

    kind: str

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        """Normalises each position's channels (layer), or groups of them over all positions (group)."""
        if self.kind == "layer":
            maps = nn.LayerNorm(name="layer")(maps)
        elif self.kind == "group":
            channels = maps.shape[-1]
            groups = next(n for n in range(min(8, channels), 0, -1) if channels % n == 0)
            maps = nn.GroupNorm(num_groups=groups, name="group")(maps)
        return maps
