"""The objective of a model: its likelihood, what is added to it, and what takes its place."""

from dataclasses import fields, is_dataclass
from typing import Any

import jax

from aeflax import config, factories, objectives
from aeflax.engine.state import Hyper
from aeflax.errors import ConfigError
from aeflax.outputs import BatchMean, Outputs, Values
from aeflax.own_parts import ELSEWHERE, function, made, require_floats, without_generators

KL = "kl"  # the penalty that a bound holds already


def objective(model: config.Model, like: objectives.Likelihood) -> Any:
    """The loss of a batch: (outputs, targets, batch mean, hyper, step) -> (nats [B], terms [B] by name)."""
    charges = penalties(model)

    def weighted(outputs: Outputs, targets: jax.Array, values: Values) -> jax.Array:
        """The importance-weighted bound, in place of the ELBO that one draw estimates."""
        latent = outputs.latent
        assert latent.drawn is not None
        assert latent.mean is not None
        assert latent.log_var is not None
        nats = jax.vmap(lambda logits: like.nats(outputs.replace(logits=logits), targets, values))(outputs.drawn)
        return objectives.importance_weighted_nats(nats, latent.drawn, latent.mean, latent.log_var)

    def objective(
        outputs: Outputs, targets: jax.Array, batch_mean: BatchMean, hyper: Hyper, step: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        values = hyper["model"]
        loss = like.nats(outputs, targets, values["likelihood"])
        require_floats(f"model.likelihood {model.likelihood.kind}", loss, targets.shape[:1])
        terms = {"reconstruction_nats": loss}
        bound = outputs.drawn is not None  # in which the KL is
        if bound:
            loss = weighted(outputs, targets, values["likelihood"])
        for name, cost in charges.items():
            with without_generators(f"model.penalties.{name}", ELSEWHERE):
                found: Any = cost(outputs, batch_mean, values["penalties"][name], step)
            if len(pair := found if isinstance(found, tuple) else ()) != 2:
                raise ConfigError(
                    f"model.penalties.{name} gives no pair; its factory must give a function that returns (cost [B], "
                    "reported value [B])"
                )
            for part in pair:
                require_floats(f"model.penalties.{name}", part, loss.shape)
            charged, terms[name] = pair
            loss = loss if bound and name == KL else loss + charged
        if outputs.repaired is not None:
            # Of a Gaussian likelihood: the squared error of what dead units make of the residual.
            scale = None if outputs.log_scale is None else jax.lax.stop_gradient(outputs.log_scale)
            nats = like.nats(outputs.replace(logits=outputs.repaired, log_scale=scale), targets, values["likelihood"])
            terms["auxk"] = nats - jax.lax.stop_gradient(terms["reconstruction_nats"])
            loss = loss + values["dictionary"]["auxk_weight"] * terms["auxk"]
        return loss, terms

    return objective


def penalties(model: config.Model) -> dict[str, objectives.Penalty]:
    """Penalties that are on, by field name."""
    record = model.penalties
    parts = {field.name: getattr(record, field.name) for field in fields(record)}

    def cost(name: str, part: Any) -> objectives.Penalty:
        called = f"model.penalties.{name}"
        if not is_dataclass(part):
            raise ConfigError(
                f"{called} is no penalty; a record of penalties holds these alone, dataclasses with a factory, or None"
            )
        found: objectives.Penalty = function(
            called, made(called, factories.penalty, part), "outputs", "mean", "values", "step"
        )
        return found

    return {name: cost(name, part) for name, part in parts.items() if part is not None}


def repairs(model: config.Model) -> bool:
    """Whether dead units learn what the others leave over."""
    return model.dictionary is not None and model.dictionary.auxk_weight is not None
