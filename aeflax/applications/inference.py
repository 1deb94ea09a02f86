"""A trained autoencoder as functions of arrays: codes, reconstructions, samples, scores; in batches, of any size.

Values go in as they were in training: uint8 images or the numbers of the run's source, scaled as the run scaled them. A
run trained on uint8 without a fitted scaling also takes floats in [0, 1]. What comes out is in the units of what went
in; methods called `scaled_...` take and give the model's range. A posterior gives its mean, except to `sample`, which
draws from the prior.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from aeflax.applications.functions import functions, normal
from aeflax.config import Bernoulli, GaussianPosterior
from aeflax.config.validation import require_temperature
from aeflax.data.dataset import Domain
from aeflax.engine.keys import root_key
from aeflax.engine.state import TrainState
from aeflax.errors import ConfigError, DataError
from aeflax.evaluation.batches import batch_examples
from aeflax.program import Program


class Inference:
    """One state of a model, ready to be used.

    Args:
      program: the model and its devices.
      state: whose parameters (averaged ones where kept) are used.
      domain: what it was trained on.
    """

    def __init__(self, program: Program, state: TrainState, domain: Domain) -> None:
        self.program, self.domain = program, domain
        self.weights = {
            "params": state.inference_params,
            "model": state.model,
            "hyper": program.hyper,
        }
        self._functions = functions(program.built, program.placement)

    @property
    def size(self) -> int:
        """Examples in a batch, the one size that is compiled."""
        return batch_examples(self.program)

    @property
    def code_size(self) -> int:
        """Units of a code, K."""
        return self.program.built.model.latent_dim or 0

    @property
    def vectors(self) -> bool:
        """Whether examples are vectors [F], as rows of a table are."""
        return len(self.program.built.shape) == 1

    @property
    def has_prior(self) -> bool:
        """Whether the code has a posterior, and with it a prior to draw from."""
        return isinstance(self.program.built.model.bottleneck, GaussianPosterior)

    def encode(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Examples [B, ...] -> codes [B, K] float32, batch by batch."""
        return (code for _, (code,) in self._over("encode", batches, self.scaled))

    def reconstruct(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Examples [B, ...] -> their reconstructions, float32 of the same shape and units, batch by batch."""
        for values, (images,) in self._over("reconstruct", batches, self.scaled):
            yield self.domain.scaling_of(values).invert(images.reshape(len(images), -1)).reshape(values.shape)

    def score(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Examples [B, ...] -> squared error per feature of their reconstructions [B]; higher is odder."""
        return (error for _, (error,) in self._over("score", batches, self.scaled))

    def bounds(self, batches: Iterable[np.ndarray], samples: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Examples [B, ...] -> two bounds of -log p(x) [B] from `samples` draws of each one's posterior, nats.

        The first is the negative ELBO, its reconstruction averaged over the draws and its KL in closed form; the second
        the tighter importance-weighted bound (Burda et al. 2016). An example's draws depend on the run's seed and its
        place in the batches alone; memory does not depend on `samples`.

        Raises:
          ConfigError: where the code has no posterior.
        """
        return self._bounds(batches, samples, self.scaled)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes [N, K] -> expected examples [N, ...] float32, in the units of the run's data.

        Raises:
          DataError: where the codes have another size.
        """
        return self.unscaled(self.scaled_decode(codes))

    def sample(self, count: int, *, seed: int = 0, temperature: float = 1.0) -> np.ndarray:
        """Expected examples [count, ...] at codes drawn from the prior, in the units of the run's data.

        Arguments and errors: as `prior`.
        """
        return self.decode(self.prior(0, count, seed=seed, temperature=temperature))

    def prior(self, first: int, stop: int, *, seed: int = 0, temperature: float = 1.0) -> np.ndarray:
        """Codes `first` .. `stop - 1` of those that a seed draws from the prior, [stop - first, K].

        Args:
          first: index of the first one.
          stop: index behind the last one.
          seed: the same one draws the same codes.
          temperature: what the draws are multiplied by: below 1 they stay nearer to the prior's mean, at 0 all are it.

        Raises:
          ConfigError: where the code has no prior, or for a temperature outside [0, 1e6].
        """
        self._require_posterior("sample")
        require_temperature(temperature)
        drawn = [
            np.asarray(normal(root_key(seed), np.arange(start, start + self.size), self.code_size))
            for start in range(first, stop, self.size)
        ]
        codes = np.concatenate(drawn) if drawn else np.empty((0, self.code_size), np.float32)
        return codes[: stop - first] * np.float32(temperature)

    def scaled_encode(self, images: np.ndarray) -> np.ndarray:
        """Images [N, ...] -> codes [N, K]."""
        return self._whole("encode", images)[0]

    def scaled_reconstruct(self, images: np.ndarray) -> np.ndarray:
        """Images [N, ...] -> their reconstructions."""
        return self._whole("reconstruct", images)[0]

    def scaled_decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes [N, K] -> expected images [N, ...]; errors as `decode` has them."""
        codes = np.asarray(codes, np.float32)
        width = self.code_size
        if codes.ndim != 2 or codes.shape[1] != width:
            raise DataError(f"codes have the shape {list(codes.shape)}; this model decodes [N, {width}]")
        if not len(codes):
            return np.empty((0, *self.program.built.shape), np.float32)
        return self._whole("decode", codes)[0]

    def scaled_kl(self, images: np.ndarray) -> np.ndarray:
        """Images [N, ...] -> KL of each dimension's posterior to the prior [N, K], nats.

        Raises:
          ConfigError: where the code has no posterior.
        """
        self._require_posterior("the KL")
        return self._whole("posterior", images)[2]

    def scaled_posteriors(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Images [B, ...] -> mean, log-variance and KL to the prior, in nats, of each dimension [B, K], by batch.

        Raises:
          ConfigError: where the code has no posterior.
        """
        self._require_posterior("the posterior")
        return (found for _, found in self._over("posterior", batches, _same))  # type: ignore[misc]

    def scaled_bounds(self, batches: Iterable[np.ndarray], samples: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Images [B, ...] -> two bounds of -log p(x) [B], nats; as `bounds` has them."""
        return self._bounds(batches, samples, _same)

    def dictionary(self, codes: np.ndarray) -> np.ndarray:
        """What each code [N, K] adds to the decoder's output (logits, or the Gaussian's mean) of the zero code."""
        (found,) = self._whole("logits", np.concatenate([np.zeros_like(codes[:1]), codes]))
        added: np.ndarray = found[1:] - found[:1]
        return added

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """Values [B, ...] in the model's range, float32.

        Raises:
          DataError: where they have another shape, or lie outside [0, 1] while the run's data lay in it and either
            their units are in doubt, as those of uint8 are, or the likelihood is Bernoulli.
        """
        shape = self.program.built.shape
        flat = (math.prod(shape),)
        if values.shape[1:] not in (shape, flat, shape[:-1] if shape[-1] == 1 else shape):
            raise DataError(
                f"examples have the shape {list(values.shape[1:])}; this model was trained on {list(shape)}"
            )
        rows = self.domain.scaling_of(values).apply(values.reshape(len(values), -1))
        self._require_range(rows, values.dtype)
        return rows.reshape(-1, *shape)

    def unscaled(self, images: np.ndarray) -> np.ndarray:
        """Images [N, ...] of the model's range in the units of the run's data, float32."""
        rows = images.reshape(len(images), math.prod(self.program.built.shape))
        return self.domain.scaling.invert(rows).reshape(images.shape)

    def _require_range(self, rows: np.ndarray, given: np.dtype) -> None:
        domain, bernoulli = self.domain, isinstance(self.program.built.model.likelihood, Bernoulli)
        bounded = domain.unit_range and not domain.scaling.fitted and (domain.dtype == np.uint8 or bernoulli)
        if not bounded or not rows.size or (rows.min() >= -1e-6 and rows.max() <= 1 + 1e-6):
            return
        expected = "the units of its source"
        if domain.dtype == np.uint8:
            divisor = f"{domain.scaling.divisor[0]:g}"
            expected = f"uint8 values, or floats in [0, 1]: divide by {divisor}, or round to uint8"
            if given == np.uint8:
                expected = f"uint8 values from 0 to {divisor}, as it was trained on, or floats in [0, 1]"
            elif rows.min() >= -1 and rows.max() <= 2:  # noise, which reaches a little beyond
                expected = "floats in [0, 1]: clip what lies beyond"
        raise DataError(
            f"examples reach from {rows.min():g} to {rows.max():g} once scaled, but this model was trained on data "
            f"in [0, 1]; pass {expected}"
        )

    def _whole(self, name: str, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Runs a function over images or codes [N, ...] -> arrays [N, ...]."""
        found = [outputs for _, outputs in self._over(name, [images], _same)]
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))

    def _bounds(
        self, batches: Iterable[np.ndarray], samples: int, scaled: Callable[[np.ndarray], np.ndarray]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        self._require_posterior("this score")
        found = self._over("bounds", batches, scaled, self.program.key, np.int32(samples))
        return (bounds for _, bounds in found)  # type: ignore[misc]

    def _over(
        self, name: str, batches: Iterable[np.ndarray], scaled: Callable[[np.ndarray], np.ndarray], *more: Any
    ) -> Iterator[tuple[np.ndarray, tuple[np.ndarray, ...]]]:
        """Runs a function over batches of any length, each piece computed while the one before is fetched.

        A piece is padded to the one size that is compiled; its outputs are cut on the host, where no length needs a
        program of its own. A function that takes `more` also gets the examples' places in the batches, [B].
        """
        first = 0
        waiting: list[tuple[np.ndarray, list[jax.Array]]] = []
        for piece in _resized(batches, self.size):
            images = scaled(piece)
            padded = np.zeros((self.size, *images.shape[1:]), np.float32)
            padded[: len(images)] = images
            index = np.arange(first, first + self.size, dtype=np.int32)
            first += len(piece)
            given = self.program.placement.shard((padded, index) if more else (padded,))
            waiting.append((piece, self._functions[name](self.weights, *given, *more)))
            if len(waiting) == 2:
                yield _fetched(*waiting.pop(0))
        for result in waiting:
            yield _fetched(*result)

    def _require_posterior(self, what: str) -> None:
        if not self.has_prior:
            raise ConfigError(f"{what} needs a model with a prior, as the preset vae has; this one's code has none")


def joined(batches: Iterable[np.ndarray], empty: tuple[int, ...]) -> np.ndarray:
    """One array of all batches; of the shape `empty` but for its first axis where there are none."""
    found = list(batches)
    return np.concatenate(found) if found else np.empty((0, *empty[1:]), np.float32)


def _same(images: np.ndarray) -> np.ndarray:
    return images


def _fetched(piece: np.ndarray, outputs: list[jax.Array]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    return piece, tuple(np.asarray(part)[: len(piece)] for part in outputs)


def _resized(batches: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Cuts batches into pieces of at most `size` examples."""
    for batch in batches:
        yield from (batch[start : start + size] for start in range(0, len(batch), size))
