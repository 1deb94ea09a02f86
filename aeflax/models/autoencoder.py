"""The one model: encoder, bottleneck, decoder. A variant is a choice of the three."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from aeflax.outputs import Context, Outputs

LOG_SCALE_BOUND = 7.0
INFERENCE = Context()


class Autoencoder(nn.Module):
    """Encoder, bottleneck, decoder. Networks compute in the dtype of what goes in; what comes out is float32."""

    encoder: nn.Module
    bottleneck: nn.Module
    decoder: nn.Module
    learn_scale: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, context: Context = INFERENCE) -> Outputs:
        """Maps images [B, ...] to logits of the same shape."""
        latent = self.bottleneck(self.encoder(images), context)
        log_scale = None
        if self.learn_scale:
            raw = self.param("log_scale", nn.initializers.zeros_init(), ())
            log_scale = LOG_SCALE_BOUND * jnp.tanh(raw / LOG_SCALE_BOUND)
        logits = self.decode(latent.code.astype(images.dtype))
        return Outputs(logits=logits, latent=latent, log_scale=log_scale)

    def encode(self, images: jax.Array, context: Context = INFERENCE) -> jax.Array:
        """Maps images [B, ...] to codes [B, D]; without keys the mean of a posterior."""
        code: jax.Array = self.bottleneck(self.encoder(images), context).code
        return code

    def decode(self, code: jax.Array) -> jax.Array:
        """Maps codes [B, D] to logits [B, ...]."""
        logits: jax.Array = self.decoder(code).astype(jnp.float32)
        return logits
