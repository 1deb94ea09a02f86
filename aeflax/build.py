"""From a whole configuration to the engine's parts; what each part stands for is found in `factories`."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from aeflax import config, factories, noise, objectives, optimizers
from aeflax.config.structure import structure, traced, unknown
from aeflax.engine.compiling import PROGRAMS
from aeflax.engine.keys import Keys, Stream, root_key
from aeflax.engine.state import Hyper, Parts, PyTree, Source
from aeflax.errors import ConfigError
from aeflax.loss import objective, penalties, repairs
from aeflax.models.autoencoder import Autoencoder, Offset
from aeflax.models.bottlenecks import STATE
from aeflax.models.dictionary import IDLE, across, counted, directions, normalized, spare, transposed
from aeflax.models.layers import initialized
from aeflax.models.tying import completed, shared
from aeflax.outputs import BatchMean, Context, Outputs
from aeflax.own_parts import ADDRESSED, function, made, require_floats, without_generators

BOTTLENECK = "bottleneck"  # its part of the parameters and of the model state
DRAWN = {"backbone": ("encoder", "decoder"), "bottleneck": (BOTTLENECK,)}  # parts of the parameters that slots fill


@dataclass(frozen=True, eq=False)
class Built:
    """A model ready to train and to use: the engine's parts and what evaluation needs beside them."""

    parts: Parts
    module: Autoencoder
    encode: Callable[[PyTree, PyTree, jax.Array, Hyper], jax.Array]  # (params, model state, images, hyper) -> codes
    decode: Callable[[PyTree, jax.Array], jax.Array]  # (params, codes [B, D]) -> logits [B, ...]
    complete: Callable[[PyTree], PyTree]  # params as trained -> as the module takes them
    likelihood: objectives.Likelihood
    model: config.Model  # its structure: traced numbers are unknown, and reading one raises
    shape: tuple[int, ...]  # of one example
    anew: Callable[[], "Built"]  # the same, made by the factories once more

    @functools.cached_property
    def widest(self) -> int:
        """Values of the largest array that goes from one layer to the next, of one example."""

        def between() -> list[jax.Array]:
            params, state = self.parts.init(root_key(0))
            variables, example = {"params": self.complete(params), STATE: state}, jnp.zeros((1, *self.shape))
            context = blank(self.model)
            told = self.module.apply(variables, example, context, capture_intermediates=True, mutable="intermediates")
            return [example, *(leaf for leaf in jax.tree.leaves(told[1]) if isinstance(leaf, jax.Array))]

        return max(int(array.size) for array in jax.eval_shape(between))


def build(experiment: config.Experiment, shape: tuple[int, ...]) -> Built:
    """The parts of a resolved experiment for examples of a shape; equal structures share one result."""
    optimizer, train = experiment.optimizer, experiment.train
    steps = 0 if optimizer.schedule in ("constant", "piecewise") else train.steps or 0
    return _build(
        tuple(factories.chosen(experiment.model).values()),
        structure(experiment.model),
        structure(optimizer),
        steps,
        experiment.data.binarize,
        shape,
        train.precision,
        train.rematerialize,
    )


def hyper(experiment: config.Experiment) -> Hyper:
    """The traced numbers of a resolved experiment, as float32 scalars."""
    numbers = {"model": traced(experiment.model), "optimizer": traced(experiment.optimizer)}
    return jax.tree.map(jnp.float32, numbers)


@functools.lru_cache(maxsize=PROGRAMS)
def _build(
    made_by: tuple[Any, ...],  # a part of what tells models apart
    model: config.Model,
    optimizer: config.Optimizer,
    steps: int,
    binarize: str,
    shape: tuple[int, ...],
    precision: str,
    rematerialize: bool,
) -> Built:
    module = _module(model, shape, rematerialize)
    record = model.dictionary
    unit_norm = bool(record and record.unit_norm)
    tied = isinstance(model.backbone, config.Dense) and model.backbone.tied
    complete = completed if tied else _unchanged
    apply, encode, decode = _computations(
        module, complete, precision, record.auxk if record and repairs(model) else None
    )
    observe, update = _following(model)
    likelihood = f"model.likelihood {model.likelihood.kind}"
    like = made(likelihood, factories.likelihood, model.likelihood)
    if not isinstance(like, objectives.Likelihood):
        wanted = "an aeflax.objectives.Likelihood(nats, mean)"
        raise ConfigError(f"the factory of {likelihood} must return {wanted}, and returned {like!r}")
    function(f"{likelihood} (its nats)", like.nats, "outputs", "targets", "values")
    function(f"{likelihood} (its mean)", like.mean, "logits")

    def init(key: jax.Array) -> tuple[PyTree, PyTree]:
        outputs, variables = module.init_with_output(key, jnp.zeros((1, *shape), jnp.float32), blank(model))
        code = 1, model.latent_dim or 0  # resolved
        require_floats(f"model.bottleneck {model.bottleneck.kind}", outputs.latent.code, code)
        require_floats(f"the decoder of model.backbone {model.backbone.kind}", outputs.logits, (1, *shape))
        require_floats(f"the mean of {likelihood}", like.mean(outputs.logits), (1, *shape))
        params, state = _drawn(variables["params"], model), variables.get(STATE, {})
        params = shared(params) if tied else params
        if record is None:
            return params, state
        params = transposed(params) if record.transpose else params
        params = normalized(params) if unit_norm else params
        return params, state | {IDLE: jnp.zeros(len(directions(params)), jnp.int32)}

    parts = Parts(
        init=init,
        prepare=_prepare(binarize, shape),
        corrupt=_corrupt(model),
        apply=apply,
        objective=objective(model, like),
        tx=_tx(optimizer, steps, unit_norm=unit_norm),
        observe=observe,
        update=update,
        average=_average(unit_norm=unit_norm) if optimizer.ema is not None else None,
        terms=("reconstruction_nats", *penalties(model), *(["auxk"] if repairs(model) else [])),
    )
    given = made_by, model, optimizer, steps, binarize, shape, precision, rematerialize
    anew = functools.partial(_build.__wrapped__, *given)
    return Built(parts, module, encode, decode, complete, like, model, shape, anew)


def _drawn(params: PyTree, model: config.Model) -> PyTree:
    """Parameters with the initialization that a model asks for; modules of a user's own draw as they do."""
    own = factories.own(model)
    theirs = {name for slot, names in DRAWN.items() if slot in own for name in names}
    ours = {name: part for name, part in params.items() if name not in theirs}
    return {**params, **initialized(ours, model.initialization)}


def blank(model: config.Model) -> Context:
    """What the bottleneck of a structure knows while its weights are drawn: nothing depends on its numbers then."""
    return Context(values=jax.tree.map(jnp.float32, unknown(model.bottleneck)))


def _following(model: config.Model) -> tuple[Any, Any]:
    """`observe` and `update` of the engine's parts."""
    kept, record = factories.memory(model.bottleneck), model.dictionary

    def observe(outputs: Outputs) -> PyTree:
        seen = {} if kept is None else {BOTTLENECK: kept.observe(outputs.latent)}
        return seen if record is None else seen | {IDLE: (outputs.latent.code > 0).astype(jnp.float32)}

    def update(params: PyTree, state: PyTree, means: PyTree, examples: jax.Array) -> tuple[PyTree, PyTree]:
        if record is not None:
            params = normalized(params) if record.unit_norm else params
            state = state | {IDLE: counted(state[IDLE], means[IDLE], examples)}
        return params, state if kept is None else state | {
            BOTTLENECK: kept.update(state[BOTTLENECK], means[BOTTLENECK])
        }

    return observe, update


def _unchanged(params: PyTree) -> PyTree:
    return params


def _computations(
    module: Autoencoder, complete: Callable[[PyTree], PyTree], precision: str, auxk: int | None
) -> tuple[Any, Any, Any]:
    """The model as pure functions: `apply` of the engine's parts; `encode` and `decode` of `Built`.

    With `auxk`, in training, outputs also show what so many dead units an example would add.
    """
    dtype = jnp.dtype(precision)

    def variables(params: PyTree, state: PyTree) -> PyTree:
        # Networks compute in the dtype; a number beside them, such as a learned scale, stays as it is.
        cast = {
            name: jax.tree.map(lambda leaf: leaf.astype(dtype), part) if isinstance(part, Mapping) else part
            for name, part in complete(params).items()
        }
        return {"params": cast, STATE: state}

    def apply(
        params: PyTree,
        state: PyTree,
        images: jax.Array,
        keys: jax.Array | None,
        hyper: Hyper,
        mean: BatchMean | None,
    ) -> Outputs:
        context = Context(keys, hyper["model"]["bottleneck"], mean)
        outputs: Outputs = module.apply(variables(params, state), images.astype(dtype), context)  # type: ignore[assignment]
        return outputs if mean is None or auxk is None else repaired(outputs, params, state, hyper)

    def repaired(outputs: Outputs, params: PyTree, state: PyTree, hyper: Hyper) -> Outputs:
        code = outputs.latent.unselected
        assert auxk is not None
        if code is None:
            raise ConfigError(
                "model.dictionary.auxk_weight needs the unselected code, which this bottleneck's latent does not tell; "
                "set it to None"
            )
        dead = state[IDLE].astype(jnp.float32) >= hyper["model"]["dictionary"]["dead_after"]
        added = decode(params, spare(code, dead, auxk)) - decode(params, jnp.zeros_like(code[:1]))
        return outputs.replace(repaired=jax.lax.stop_gradient(outputs.logits) + added)

    def encode(params: PyTree, state: PyTree, images: jax.Array, hyper: Hyper) -> jax.Array:
        context = Context(values=hyper["model"]["bottleneck"])
        return module.apply(variables(params, state), images.astype(dtype), context, method="encode")  # type: ignore[return-value]

    def decode(params: PyTree, codes: jax.Array) -> jax.Array:
        return module.apply(variables(params, {}), codes.astype(dtype), method="decode")  # type: ignore[return-value]

    return apply, encode, decode


def _module(model: config.Model, shape: tuple[int, ...], rematerialize: bool) -> Autoencoder:
    part = model.backbone
    spatial = isinstance(part, config.Conv) and part.spatial
    assert model.latent_dim is not None  # resolved
    features = part.features[-1] if isinstance(part, config.Conv) and spatial else model.latent_dim
    backbone = f"model.backbone {part.kind}"
    networks: Any = made(backbone, factories.backbone, part, shape)
    if not (isinstance(networks, tuple) and len(networks) == 2 and all(isinstance(one, nn.Module) for one in networks)):
        raise ConfigError(f"the factory of {backbone} must return two Flax modules, encoder and decoder")
    encoder, decoder = networks
    if rematerialize:
        encoder, decoder = (_rematerialized(part, network) for network in (encoder, decoder))
    learn_scale = isinstance(model.likelihood, config.GaussianLikelihood) and model.likelihood.scale is None
    bottleneck = model.bottleneck
    called = f"model.bottleneck {bottleneck.kind}"
    middle = made(called, factories.bottleneck, bottleneck, features, not spatial)
    if not isinstance(middle, nn.Module):
        raise ConfigError(f"the factory of {called} must return a Flax module, and returned {middle!r}")
    function(called, middle, "hidden", "context")
    pre_bias = Offset(shape) if model.dictionary and model.dictionary.pre_bias else None
    return Autoencoder(encoder, middle, decoder, learn_scale, pre_bias)


def _rematerialized(part: config.Backbone, network: nn.Module) -> nn.Module:
    if not hasattr(network, "rematerialize"):
        raise ConfigError(f"train.rematerialize is nothing that the backbone {part.kind} knows; leave it out")
    return network.clone(rematerialize=True)


def _prepare(binarize: str, shape: tuple[int, ...]) -> Any:
    def prepare(source: Source, keys: Keys) -> jax.Array:
        rows = (source.rows.astype(jnp.float32) - source.shift) / source.divisor
        if binarize != "none":
            draw = keys.constant(Stream.BINARIZE_ONCE) if binarize == "fixed" else keys.of(Stream.BINARIZE)
            rows = (noise.uniform(draw, rows.shape[1]) < rows).astype(jnp.float32)
        return rows.reshape(-1, *shape)

    return prepare


def _corrupt(model: config.Model) -> Any:
    name = f"model.corruption {model.corruption.kind}"
    process = function(name, made(name, factories.corruption, model.corruption), "keys", "images", "values")

    def corrupt(keys: jax.Array, images: jax.Array, hyper: Hyper) -> jax.Array:
        with without_generators(name, ADDRESSED):
            found: jax.Array = process(keys, images, hyper["model"]["corruption"])
        require_floats(name, found, images.shape)
        return found

    return corrupt


def _tx(optimizer: config.Optimizer, steps: int, *, unit_norm: bool) -> Any:
    shape = optimizers.schedule(
        optimizer.schedule, steps=steps, warmup_steps=optimizer.warmup_steps, boundaries=optimizer.boundaries
    )

    def tx(hyper: Hyper, step: jax.Array) -> optax.GradientTransformation:
        values = hyper["optimizer"]
        found = optimizers.transformation(optimizer.name, values["learning_rate"] * shape(step, values), values)
        return optax.chain(across(), found) if unit_norm else found

    return tx


def _average(*, unit_norm: bool) -> Any:
    def average(average: PyTree, params: PyTree, hyper: Hyper, step: jax.Array) -> PyTree:
        # Early on the average is short, or the random initial weights would stay in it for 1 / (1 - ema) steps.
        now = step.astype(jnp.float32)
        decay = jnp.minimum(hyper["optimizer"]["ema"], (1.0 + now) / (10.0 + now))
        found = optax.incremental_update(params, average, 1.0 - decay)
        return normalized(found) if unit_norm else found  # directions that differ average to less than length 1

    return average
