"""Fills in what an experiment left to be chosen, once the data's shape and size are known."""

import math
from dataclasses import replace

from aeflax.config import (
    Conv,
    Dense,
    Deterministic,
    Experiment,
    GaussianLikelihood,
    Model,
    Optimizer,
    Sparse,
    Train,
)
from aeflax.config.validation import has_sigmoid_code, metrics, validate
from aeflax.errors import ConfigError

# Optax's own defaults; the other optimizers decay weights only when asked.
WEIGHT_DECAY = {"adamw": 1e-4, "lion": 1e-3}
B1, B2 = {"muon": 0.95}, {"lion": 0.99}
MIN_STEPS = 4000
EPOCHS = 20


def resolve(experiment: Experiment, shape: tuple[int, ...], examples: int) -> Experiment:
    """The experiment with nothing left open: code size, activations, steps, intervals, decays.

    Args:
      experiment: what the user asked for.
      shape: of one example, (H, W, C) or (D,).
      examples: number of training examples.

    Raises:
      ConfigError: for contradictions, and for a model that does not fit such examples.
    """
    validate(experiment)
    train = _train(experiment.train, experiment.data.steps_per_epoch(examples))
    if experiment.data.validation:
        train = replace(train, monitor=train.monitor or metrics(experiment.model)[0])  # type: ignore[arg-type]
    return validate(
        replace(
            experiment,
            model=_model(experiment.model, shape, experiment.data.scale),
            optimizer=_optimizer(experiment.optimizer, train.steps or 0),
            train=train,
        )
    )


def _train(train: Train, epoch: int) -> Train:
    if train.steps is not None:
        steps = train.steps
    elif train.epochs is not None:
        steps = train.epochs * epoch
    else:
        steps = max(EPOCHS * epoch, MIN_STEPS)
    return replace(
        train,
        steps=steps,
        epochs=None,
        log_every=train.log_every or max(epoch, 100),
        eval_every=train.eval_every or max(epoch, -(-steps // 20)),
        checkpoint_every=train.checkpoint_every or max(epoch, -(-steps // 10)),
    )


def _optimizer(optimizer: Optimizer, steps: int) -> Optimizer:
    if optimizer.schedule != "constant" and optimizer.warmup_steps >= steps:
        raise ConfigError(
            f"optimizer.warmup_steps={optimizer.warmup_steps} leaves nothing of the run's {steps} steps; lower it"
        )
    name, decay = optimizer.name, optimizer.weight_decay
    return replace(
        optimizer,
        b1=B1.get(name, 0.9) if optimizer.b1 is None else optimizer.b1,
        b2=B2.get(name, 0.999) if optimizer.b2 is None else optimizer.b2,
        weight_decay=WEIGHT_DECAY.get(name) if decay is None else decay,
    )


def _model(model: Model, shape: tuple[int, ...], scale: str) -> Model:
    features, backbone = math.prod(shape), model.backbone
    overcomplete = model.bottleneck.sparse
    default = min(256, 4 * features) if overcomplete else max(1, min(64, features // 4))
    if isinstance(backbone, Conv):
        if len(shape) != 3:
            raise ConfigError(
                "model.backbone=conv needs images [N, H, W] or [N, H, W, C], "
                f"but the examples are vectors of {features} features; use --model.backbone dense"
            )
        if backbone.spatial:
            default = math.prod(backbone.sizes(*shape[:2])[-1]) * backbone.features[-1]
            if model.latent_dim not in (None, default):
                raise ConfigError(
                    f"model.latent_dim={model.latent_dim} contradicts model.backbone.spatial, "
                    f"whose code has {default} units; leave it unset"
                )
    latent_dim = model.latent_dim or default
    bottleneck = model.bottleneck
    if isinstance(bottleneck, Deterministic) and bottleneck.activation is None:
        single = isinstance(backbone, Dense) and not backbone.widths
        bottleneck = replace(bottleneck, activation="relu" if single and scale != "standard" else "linear")
    elif isinstance(bottleneck, Sparse) and bottleneck.activation is None:
        bottleneck = replace(bottleneck, activation="sigmoid" if has_sigmoid_code(model) else "relu")
    record = model.dictionary
    if record is not None:
        linear = isinstance(model.likelihood, GaussianLikelihood) and not model.likelihood.bounded
        record = replace(
            record,
            pre_bias=linear if record.pre_bias is None else record.pre_bias,
            auxk=record.auxk or min(latent_dim, max(1, features // 2)),
        )
    return replace(model, latent_dim=latent_dim, bottleneck=bottleneck, dictionary=record)
