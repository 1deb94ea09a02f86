"""The one model: encoder, bottleneck, decoder. A variant is a choice of the three."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from aeflax.errors import ConfigError
from aeflax.outputs import Context, Latent, Outputs

LOG_SCALE_BOUND = 7.0
INFERENCE = Context()


class Offset(nn.Module):
    """A learned vector of an example's shape, 0 at first."""

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self) -> jax.Array:
        """Gives the vector."""
        found: jax.Array = self.param("value", nn.initializers.zeros_init(), self.shape)
        return found


class Autoencoder(nn.Module):
    """Encoder, bottleneck, decoder. Networks compute in the dtype of what goes in; what comes out is float32.

    A pre-bias is subtracted from the input and added to the output (Bricken et al. 2023).
    """

    encoder: nn.Module
    bottleneck: nn.Module
    decoder: nn.Module
    learn_scale: bool = False
    pre_bias: nn.Module | None = None

    @nn.compact
    def __call__(self, images: jax.Array, context: Context = INFERENCE) -> Outputs:
        """Maps images [B, ...] to logits of the same shape."""
        latent = self.bottleneck(self.encoder(self._centred(images)), context)
        if not isinstance(latent, Latent):
            found = "an array" if isinstance(latent, jax.Array) else type(latent).__name__
            raise ConfigError(f"the bottleneck returns {found}; return an aeflax.outputs.Latent")
        log_scale = None
        if self.learn_scale:
            raw = self.param("log_scale", nn.initializers.zeros_init(), ())
            log_scale = LOG_SCALE_BOUND * jnp.tanh(raw / LOG_SCALE_BOUND)
        if latent.drawn is None:
            return Outputs(self.decode(latent.code.astype(images.dtype)), latent, log_scale)
        samples, examples, size = latent.drawn.shape
        every = self.decode(latent.drawn.reshape(samples * examples, size).astype(images.dtype))
        drawn = every.reshape(samples, examples, *every.shape[1:])
        return Outputs(drawn[0], latent, log_scale, drawn=drawn)

    def encode(self, images: jax.Array, context: Context = INFERENCE) -> jax.Array:
        """Maps images [B, ...] to codes [B, D]; without keys the mean of a posterior."""
        code: jax.Array = self.bottleneck(self.encoder(self._centred(images)), context).code
        return code

    def decode(self, code: jax.Array) -> jax.Array:
        """Maps codes [B, D] to logits [B, ...]."""
        logits: jax.Array = self.decoder(code).astype(jnp.float32)
        return logits if self.pre_bias is None else logits + self.pre_bias().astype(jnp.float32)

    def _centred(self, images: jax.Array) -> jax.Array:
        return images if self.pre_bias is None else images - self.pre_bias()
