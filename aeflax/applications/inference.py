"""A trained autoencoder as functions of arrays: codes, reconstructions, samples, scores; in batches, of any size.

Values go in as they were in training: uint8 images or the numbers of the run's source, scaled as the run scaled them. A
run trained on uint8 also takes floats in [0, 1]. What comes out is in the units of what went in. A posterior gives its
mean, except to `sample`, which draws from the prior.
"""

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aeflax.build import Built
from aeflax.config import Experiment, GaussianPosterior
from aeflax.data.dataset import Dataset, Scaling
from aeflax.engine.keys import Keys, Split, Stream
from aeflax.engine.state import TrainState
from aeflax.errors import ConfigError, DataError
from aeflax.evaluation.scores import batch_examples
from aeflax.objectives import gaussian_kl
from aeflax.program import Program

Compiled = Callable[..., Any]


@dataclass(frozen=True)
class Inputs:
    """What a run was trained on, as far as using it needs: dtype, scaling, whether its data lay in [0, 1]."""

    dtype: np.dtype[Any]
    scaling: Scaling
    unit_range: bool
    fitted: bool  # whether the scaling was fitted on the training data

    @classmethod
    def of(cls, dataset: Dataset, experiment: Experiment) -> "Inputs":
        """What an experiment on a data set is trained on."""
        fitted = experiment.data.scale != "none"
        return cls(dataset.train.values.dtype, dataset.scaling, dataset.unit_range, fitted)

    def scaling_of(self, values: np.ndarray) -> Scaling:
        """How such values come to the model's range."""
        if self.dtype == np.uint8 and not self.fitted and values.dtype.kind == "f":
            return Scaling(self.scaling.shift, np.ones(1, np.float32))  # already in [0, 1]
        return self.scaling


class Inference:
    """One state of a model, ready to be used.

    Args:
      program: the model and its devices.
      state: whose parameters (averaged ones where kept) are used.
      inputs: what it was trained on.
    """

    def __init__(self, program: Program, state: TrainState, inputs: Inputs) -> None:
        self.program, self.inputs = program, inputs
        self.weights = {"params": state.inference_params, "model": state.model}
        self._functions = _functions(program.built)

    @property
    def size(self) -> int:
        """Examples in a batch, the one size that is compiled."""
        size = batch_examples(self.program)
        return size + -size % self.program.placement.shards

    def encode(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Examples [B, ...] -> codes [B, K] float32, batch by batch."""
        return (code for (code,) in self._over("encode", batches))

    def reconstruct(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Examples [B, ...] -> their reconstructions, float32 of the same shape and units, batch by batch."""
        for values, (images,) in self._with_inputs("reconstruct", batches):
            yield self.inputs.scaling_of(values).invert(images.reshape(len(images), -1)).reshape(values.shape)

    def score(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Examples [B, ...] -> squared error per feature of their reconstructions [B]; higher is odder."""
        return (error for (error,) in self._over("score", batches))

    def posterior(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Examples [B, ...] -> mean [B, K] and KL to the prior of each dimension [B, K], nats, batch by batch.

        Raises:
          ConfigError: where the code has no posterior.
        """
        self._require_posterior("posterior")
        return ((mean, kl) for mean, kl in self._over("posterior", batches))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes [N, K] -> expected examples [N, ...] float32, in the units of the run's data.

        Raises:
          DataError: where the codes have another size.
        """
        images = self.scaled_decode(codes)
        rows = images.reshape(len(images), math.prod(self.program.built.shape))
        return self.inputs.scaling.invert(rows).reshape(images.shape)

    def scaled_decode(self, codes: np.ndarray) -> np.ndarray:
        """`decode` in the model's range."""
        codes = np.asarray(codes, np.float32)
        width = self._code_size
        if codes.ndim != 2 or codes.shape[1] != width:
            raise DataError(f"codes have the shape {list(codes.shape)}; this model decodes [N, {width}]")
        if not len(codes):
            return np.empty((0, *self.program.built.shape), np.float32)
        return np.concatenate([np.asarray(self._run("decode", piece)[0]) for piece in _resized([codes], self.size)])

    def sample(self, count: int, *, seed: int = 0) -> np.ndarray:
        """Expected examples [count, ...] at codes drawn from the prior, in the units of the run's data.

        Raises:
          ConfigError: where the code has no prior.
        """
        return self.decode(self.prior(count, seed=seed))

    def prior(self, count: int, *, seed: int = 0) -> np.ndarray:
        """Codes drawn from the prior, [count, K]; a longer draw begins as a shorter one does.

        Raises:
          ConfigError: where the code has no prior.
        """
        self._require_posterior("sample")
        root = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), Stream.LATENT)
        keys = jax.vmap(functools.partial(jax.random.fold_in, root))(np.arange(count))
        draw = functools.partial(jax.random.normal, shape=(self._code_size,))
        return np.asarray(jax.vmap(draw)(keys))

    def restore(self, images: np.ndarray) -> np.ndarray:
        """Images [N, ...] in the model's range -> their reconstructions, in it too."""
        pieces = _resized([images], self.size)
        return np.concatenate([np.asarray(self._run("reconstruct", piece)[0]) for piece in pieces])

    def dictionary(self, codes: np.ndarray) -> np.ndarray:
        """What each code [N, K] adds to the decoder's output (logits, or the Gaussian's mean) of the zero code."""
        zero = np.zeros((1, codes.shape[1]), np.float32)
        pieces = _resized([zero, codes], self.size)
        nothing, *found = [np.asarray(self._run("logits", piece)[0]) for piece in pieces]
        added: np.ndarray = np.concatenate(found) - nothing
        return added

    def corrupted(self, values: np.ndarray, example: np.ndarray) -> np.ndarray:
        """Examples of the test split, by index, as evaluation corrupts them; in the model's range, [B, ...]."""
        parts, program = self.program.built.parts, self.program
        keys = Keys.of_evaluation(program.key, Split.TEST, jnp.asarray(example, jnp.int32))
        targets = self.scaled(values)
        return np.asarray(parts.corrupt(keys.of(Stream.CORRUPTION), jnp.asarray(targets), program.hyper))

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Values [B, ...] in the model's range, float32.

        Raises:
          DataError: where they have another shape or lie outside the range that the model was trained on.
        """
        shape, inputs = self.program.built.shape, self.inputs
        flat = (math.prod(shape),)
        if values.shape[1:] not in (shape, flat, shape[:-1] if shape[-1] == 1 else shape):
            raise DataError(
                f"examples have the shape {list(values.shape[1:])}; this model was trained on {list(shape)}"
            )
        rows = inputs.scaling_of(values).apply(values.reshape(len(values), -1))
        if inputs.unit_range and not inputs.fitted and rows.size and (rows.min() < -1e-6 or rows.max() > 1 + 1e-6):
            expected = "uint8 values, or floats in [0, 1]" if inputs.dtype == np.uint8 else "the units of its source"
            raise DataError(
                f"examples reach from {rows.min():g} to {rows.max():g} once scaled, but this model was trained on data "
                f"in [0, 1]; pass {expected}"
            )
        return rows.reshape(-1, *shape)

    @property
    def _code_size(self) -> int:
        return self.program.built.model.latent_dim or 0

    def _over(self, name: str, batches: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
        return (outputs for _, outputs in self._with_inputs(name, batches))

    def _with_inputs(
        self, name: str, batches: Iterable[np.ndarray]
    ) -> Iterator[tuple[np.ndarray, tuple[np.ndarray, ...]]]:
        """Runs a function over batches, each computed while the one before is fetched."""
        waiting = None
        for values in _resized(batches, self.size):
            result = values, self._run(name, self.scaled(values))
            if waiting is not None:
                yield waiting[0], tuple(np.asarray(part) for part in waiting[1])
            waiting = result
        if waiting is not None:
            yield waiting[0], tuple(np.asarray(part) for part in waiting[1])

    def _run(self, name: str, images: np.ndarray) -> list[jax.Array]:
        """Runs one batch, padded to the one size that is compiled, and drops the padding."""
        padded = np.zeros((self.size, *images.shape[1:]), np.float32)
        padded[: len(images)] = images
        placed = self.program.placement.shard(padded)
        return [part[: len(images)] for part in self._functions[name](self.weights, placed)]

    def _require_posterior(self, what: str) -> None:
        if not isinstance(self.program.built.model.bottleneck, GaussianPosterior):
            raise ConfigError(f"{what} needs a model with a prior, as the preset vae has; this one's code has none")


def _resized(batches: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Cuts batches into pieces of at most `size` examples."""
    for batch in batches:
        yield from (batch[start : start + size] for start in range(0, len(batch), size))


@functools.lru_cache(maxsize=32)
def _functions(built: Built) -> dict[str, Compiled]:
    """Compiled functions of (weights, images or codes [B, ...]); what one does not need, XLA removes."""

    def outputs(weights: Any, images: jax.Array) -> Any:
        return built.parts.apply(weights["params"], weights["model"], images, None, train=False)

    def expected(logits: jax.Array) -> jax.Array:
        return built.likelihood.mean(logits)

    def encode(weights: Any, images: jax.Array) -> list[jax.Array]:
        return [outputs(weights, images).latent.code]

    def reconstruct(weights: Any, images: jax.Array) -> list[jax.Array]:
        return [expected(outputs(weights, images).logits)]

    def score(weights: Any, images: jax.Array) -> list[jax.Array]:
        error = (expected(outputs(weights, images).logits) - images) ** 2
        return [jnp.mean(error.reshape(len(images), -1), axis=-1)]

    def posterior(weights: Any, images: jax.Array) -> list[jax.Array]:
        latent = outputs(weights, images).latent
        return [latent.mean, gaussian_kl(latent.mean, latent.log_var)]

    def logits(weights: Any, codes: jax.Array) -> list[Any]:
        return [built.module.apply({"params": weights["params"]}, codes, method="decode")]

    def decode(weights: Any, codes: jax.Array) -> list[jax.Array]:
        return [expected(logits(weights, codes)[0])]

    return {
        function.__name__: jax.jit(function) for function in (encode, reconstruct, score, posterior, decode, logits)
    }
