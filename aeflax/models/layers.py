"""Layers that the backbones share: activations, dense, convolutional, upsampling, normalisation."""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from aeflax.models.convolution import convolve, convolve_transposed

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

# Of initial kernels, by the values that a unit reads and is read by (Glorot & Bengio 2010, LeCun et al. 1998, He et al.
# 2015; the small one as of restricted Boltzmann machines, Hinton 2012).
VARIANCES: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda fan_in, fan_out: 2.0 / (fan_in + fan_out),
    "lecun": lambda fan_in, fan_out: 1.0 / fan_in,
    "he": lambda fan_in, fan_out: 2.0 / fan_in,
    "small": lambda fan_in, fan_out: 1e-4,
}


def block(layers: Callable[..., jax.Array], rematerialize: bool, **place: int) -> Callable[..., jax.Array]:
    """Layers as a function (module, input) -> output.

    Args:
      layers: the same function with `place` as further arguments.
      rematerialize: keep the input alone for the gradient, and compute what lies inside again.
      place: of the block in the module.
    """
    bound = functools.partial(layers, **place)
    return nn.remat(bound) if rematerialize else bound


def dense(features: int, name: str, bias: float = 0.0) -> nn.Dense:
    """A dense layer on the last axis whose bias starts at a constant."""
    return nn.Dense(features, kernel_init=KERNEL_INIT, bias_init=nn.initializers.constant(bias), name=name)


def initialized(params: Any, name: str) -> Any:
    """Parameters whose kernels, drawn by `KERNEL_INIT`, have another of the `VARIANCES`."""
    if name == "glorot":
        return params

    def scaled(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        if path[-1].key != "kernel":
            return leaf
        *window, inputs, outputs = leaf.shape
        fans = math.prod(window) * inputs, math.prod(window) * outputs
        return leaf * math.sqrt(VARIANCES[name](*fans) / VARIANCES["glorot"](*fans))

    return jax.tree_util.tree_map_with_path(scaled, params)


class Conv(nn.Module):
    """Strided convolution with SAME padding: [B, H, W, C] -> [B, ⌈H/s⌉, ⌈W/s⌉, features]; transposed, [B, H·s, W·s]."""

    features: int
    kernel: int = 3
    stride: int = 1
    use_bias: bool = True
    transposed: bool = False

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Applies the convolution."""
        shape = (self.kernel, self.kernel, images.shape[-1], self.features)
        kernel = self.param("kernel", KERNEL_INIT, shape)
        out = (convolve_transposed if self.transposed else convolve)(images, kernel, self.stride)
        if self.use_bias:
            # Over rows of channels: the bias' gradient is then one plain sum, whatever the maps become next.
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
            out = (out.reshape(-1, self.features) + bias).reshape(out.shape)
        return out


def max_pool(maps: jax.Array, side: int) -> jax.Array:
    """The largest value of each window of side × side: [B, H, W, C] -> [B, ⌈H/side⌉, ⌈W/side⌉, C].

    Maxima of slices: on CPU, XLA's own window and its gradient take many times longer. Equal largest values share the
    gradient.
    """
    batch, height, width, channels = maps.shape
    rows, columns = -(-height // side), -(-width // side)
    least = jnp.asarray(-jnp.inf, maps.dtype)
    maps = lax.pad(maps, least, ((0, 0, 0), (0, rows * side - height, 0), (0, columns * side - width, 0), (0, 0, 0)))
    maps = maps.reshape(batch, rows, side, columns, side, channels)

    def largest(maps: jax.Array, axis: int) -> jax.Array:
        slices = (lax.index_in_dim(maps, i, axis, keepdims=False) for i in range(side))
        return functools.reduce(jnp.maximum, slices)

    return largest(largest(maps, 2), 3)


class SubPixelConv(nn.Module):
    """Upsampling by rearranging channels (Shi et al. 2016): [B, h, w, C] -> [B, h·s, w·s, features]."""

    features: int
    kernel: int = 3
    stride: int = 2
    use_bias: bool = True

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        """Convolves to s² times the features, ordered (row, column, feature), then moves them into space."""
        batch, height, width, _ = maps.shape
        s, f = self.stride, self.features
        out = Conv(s * s * f, self.kernel, 1, self.use_bias, name="conv")(maps)
        out = out.reshape(batch, height, width, s, s, f).transpose(0, 1, 3, 2, 4, 5)
        return out.reshape(batch, height * s, width * s, f)


class Norm(nn.Module):
    """Layer or group normalisation over channels, or nothing."""

    kind: str

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        """Normalises each position's channels (layer), or groups of them over all positions (group).

        Statistics are float32, whatever the maps are, and a variance is that of what the mean leaves: the difference of
        two squares would lose it where a few channels lie close together.
        """
        if self.kind == "layer":
            maps = nn.LayerNorm(use_fast_variance=False, name="layer")(maps)
        elif self.kind == "group":
            channels = maps.shape[-1]
            groups = next(n for n in range(min(8, channels), 0, -1) if channels % n == 0)
            maps = nn.GroupNorm(num_groups=groups, use_fast_variance=False, name="group")(maps)
        return maps
