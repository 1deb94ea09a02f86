"""The five variants, each said by what it changes from `vanilla`.

All take the code size and return an `Experiment`, to be varied further with `dataclasses.replace`.
"""

from collections.abc import Callable
from dataclasses import replace

from aeflax.config import KL, L1, Conv, Experiment, GaussianNoise, GaussianPosterior, Model, Penalties, Sparse


def vanilla(latent_dim: int | None = None) -> Experiment:
    """A single dense layer to a ReLU code and back, Bernoulli likelihood: the classic example."""
    return Experiment(model=Model(latent_dim=latent_dim))


def sparse(latent_dim: int | None = None) -> Experiment:
    """Vanilla with an overcomplete code held sparse by an L1 penalty."""
    return _vary(latent_dim, bottleneck=Sparse(), penalties=Penalties(l1=L1()))


def denoising(latent_dim: int | None = None) -> Experiment:
    """Vanilla that sees its input through Gaussian noise and must restore it (Vincent et al. 2010)."""
    return _vary(latent_dim, corruption=GaussianNoise())


def vae(latent_dim: int | None = None) -> Experiment:
    """Vanilla with a Gaussian posterior; its loss is the negative ELBO in nats (Kingma & Welling 2014)."""
    return _vary(latent_dim, bottleneck=GaussianPosterior(), penalties=Penalties(kl=KL()))


def conv(latent_dim: int | None = None) -> Experiment:
    """Vanilla with convolutions in place of dense layers."""
    return _vary(latent_dim, backbone=Conv())


PRESETS: dict[str, Callable[..., Experiment]] = {
    "vanilla": vanilla,
    "sparse": sparse,
    "denoising": denoising,
    "vae": vae,
    "conv": conv,
}


def _vary(latent_dim: int | None, **changes: object) -> Experiment:
    base = vanilla(latent_dim)
    return replace(base, model=replace(base.model, **changes))  # type: ignore[arg-type]
