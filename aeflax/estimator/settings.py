"""From an estimator's flat arguments to an experiment, and back in what an error says."""

import numbers
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from aeflax.config import (
    KL,
    L1,
    Bernoulli,
    Conv,
    Corruption,
    Data,
    Dense,
    Deterministic,
    Experiment,
    GaussianLikelihood,
    GaussianNoise,
    Masking,
    Model,
    Optimizer,
    Penalties,
    SaltPepper,
    Sparse,
    Train,
)
from aeflax.config.schema import nearest, problems
from aeflax.errors import ConfigError
from aeflax.presets import PRESETS

# Arguments that a word chooses, and the fields of an experiment that the others become.
CHOICES: dict[str, tuple[str, ...]] = {
    "variant": tuple(PRESETS),
    "likelihood": ("gaussian", "bernoulli"),
    "scale": ("standard", "unit", "none"),
    "corruption": ("gaussian", "masking", "salt-pepper"),
}
FIELDS = {
    "model.latent_dim": "latent_dim",
    "model.backbone.widths": "widths",
    "model.backbone.features": "widths",
    "model.backbone.activation": "activation",
    "model.bottleneck.activation": "code_activation",
    "model.corruption.sigma": "noise",
    "model.corruption.rate": "noise",
    "model.penalties.l1.weight": "sparsity",
    "model.penalties.kl.beta": "beta",
    "optimizer.learning_rate": "learning_rate",
    "data.batch_size": "batch_size",
    "train.epochs": "epochs",
    "train.seed": "random_state",
}


def experiment(arguments: Mapping[str, Any], seed: int) -> Experiment:
    """The experiment that an estimator's arguments say.

    Args:
      arguments: by name, as `get_params` gives them.
      seed: that `random_state` gave.

    Raises:
      ConfigError: naming every argument that cannot be.
    """
    given = {name: _plain(value) for name, value in arguments.items()}
    for name, known in CHOICES.items():
        if given[name] not in known:
            close = nearest(str(given[name]), known)
            raise ConfigError(f"{name}={given[name]!r} is none of {', '.join(known)}{close}")
    if given["likelihood"] == "bernoulli" and given["scale"] == "standard":
        raise ConfigError("likelihood='bernoulli' needs data in [0, 1]; use scale='unit' or likelihood='gaussian'")
    if given["variant"] == "conv" and given["widths"] == ():
        raise ConfigError("widths=() leaves variant='conv' no layer; name the channels of at least one, or None")
    if not isinstance(given["verbose"], int) or given["verbose"] < 0:
        raise ConfigError(f"verbose={given['verbose']!r} is no whole number from 0 on")
    found = Experiment(
        model=_model(given),
        optimizer=Optimizer(learning_rate=given["learning_rate"]),
        data=Data(source="array", batch_size=given["batch_size"]),
        train=Train(epochs=given["epochs"], seed=seed, placement="jit"),
    )
    if faults := problems(found):
        raise ConfigError("; ".join(map(_flat, faults)))
    return found


def example_shape(image_shape: Any, features: int) -> tuple[int, ...]:
    """The shape (H, W, C) of examples of so many features, (features,) where `image_shape` is None.

    Raises:
      ConfigError: where it is no such shape, or has another number of features.
    """
    if image_shape is None:
        return (features,)
    shape = _plain(image_shape)
    if not (isinstance(shape, tuple) and len(shape) in (2, 3) and all(type(n) is int and n > 0 for n in shape)):
        raise ConfigError(f"image_shape={image_shape!r} is neither (height, width) nor (height, width, channels)")
    if np.prod(shape) != features:
        raise ConfigError(f"image_shape={image_shape!r} has {np.prod(shape)} features, but X has {features}")
    return (*shape, 1)[:3]


def _model(given: Mapping[str, Any]) -> Model:
    """The preset's model, with what the arguments change."""
    model = replace(PRESETS[given["variant"]](given["latent_dim"]).model, likelihood=_likelihood(given))
    if given["widths"] is not None:
        name = "features" if isinstance(model.backbone, Conv) else "widths"
        model = replace(model, backbone=replace(model.backbone, **{name: given["widths"]}))  # type: ignore[type-var]
    if isinstance(model.backbone, (Conv, Dense)):
        model = replace(model, backbone=replace(model.backbone, activation=given["activation"]))
    activation = given["code_activation"]
    if activation is None and given["scale"] == "standard" and isinstance(model.bottleneck, Deterministic):
        activation = "linear"  # as an experiment with `data.scale` standard has it
    if activation is not None:
        if not isinstance(model.bottleneck, (Deterministic, Sparse)):
            raise ConfigError(f"code_activation={activation!r}: the code of variant={given['variant']!r} has none")
        model = replace(model, bottleneck=replace(model.bottleneck, activation=activation))
    if given["variant"] == "sparse":
        return replace(model, penalties=Penalties(l1=L1(weight=given["sparsity"])))
    if given["variant"] == "vae":
        return replace(model, penalties=Penalties(kl=KL(beta=given["beta"])))
    return replace(model, corruption=_corruption(given)) if given["variant"] == "denoising" else model


def _likelihood(given: Mapping[str, Any]) -> Bernoulli | GaussianLikelihood:
    return Bernoulli() if given["likelihood"] == "bernoulli" else GaussianLikelihood()


def _corruption(given: Mapping[str, Any]) -> Corruption:
    level, kind = given["noise"], given["corruption"]
    if kind == "gaussian":
        part = GaussianNoise(clip=given["likelihood"] == "bernoulli")
        return part if level is None else replace(part, sigma=level)
    other = Masking() if kind == "masking" else SaltPepper()
    return other if level is None else replace(other, rate=level)


def _plain(value: Any) -> Any:
    """Python's own numbers and tuples, for NumPy's and lists, which a search over parameters brings."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(map(_plain, value))
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    return value.item() if isinstance(value, np.generic) else value


def _flat(fault: str) -> str:
    """An error about a field of an experiment as one about the argument that it came from."""
    path, _, rest = fault.partition("=")
    return f"{FIELDS.get(path, path)}={rest}"
