"""What is told of parts of a user's own before a training, when it is no error and yet hardly meant."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from aeflax.build import Built
from aeflax.config import Bernoulli
from aeflax.config.validation import EXACT_PARTS
from aeflax.engine.state import Hyper
from aeflax.errors import warn
from aeflax.own_parts import depends_on_rows, draws_again
from aeflax.program import Program
from aeflax.trial import gradients, rows
from aeflax.trial.stages import among, own_parts

MOST = 256  # examples that are computed
NAMED = 4  # parameters
FAR = 20.0  # for noise on data in [0, 1]: bytes reach 255
ELSEWHERE = "so that other devices and the padding of a last batch change the result"


def warn_of_own_parts(program: Program) -> None:
    """Warns of parts of a user's own that mix rows, train nothing, or have numbers that nothing reads."""
    built, train = program.built, program.experiment.train
    if not (own := own_parts(built.model)):
        return
    hyper, batch = jax.device_get(program.hyper), program.experiment.data.batch_size
    if "corruption" in own:
        _warn_of_corruption(own["corruption"], built, hyper, unit_range=isinstance(built.model.likelihood, Bernoulli))
    variables = rows.first(built)
    _warn_of_mixed_rows(own, built, variables, hyper)
    penalties = [path for path in own if path.startswith("penalties")]
    for path in rows.counting_rows(built, variables, hyper, min(MOST, batch), penalties):
        said = f"{own[path]} gives other values where a batch lies on two devices, or has another padding"
        mend = "average over examples by `mean`, and by nothing else: no pairs of them, no draws of a batch's shape"
        warn(f"{said}; {mend}")
    pieces = EXACT_PARTS if train.exact else train.accumulate
    if pieces > 1:
        option = "the parts of train.exact" if train.exact else f"train.accumulate={pieces} pieces of a batch"
        for path in rows.counting_rows(built, variables, hyper, min(MOST, batch), penalties, apart=True):
            warn(f"{own[path]} is another one in {option}: its `mean` is over the examples of one of them")
    for path in gradients.weightless(built, hyper, min(MOST, batch)):
        said = f"the cost of {own[path]} trains nothing: it has no gradient by any parameter"
        mend = "a comparison, a rounding, whole numbers or stop_gradient stands in its way"
        warn(f"{said}; {mend}. What is only to be reported costs 0")
    if {"backbone", "bottleneck", "likelihood"} & own.keys() and (names := gradients.untrained(built, batch)):
        said = f"no gradient reaches {', '.join(names[:NAMED])}{' and others' * (len(names) > NAMED)}"
        mend = "z + jax.lax.stop_gradient(jnp.round(z) - z) lets one through a rounding, and what is frozen is well so"
        warn(f"{said}: what stands behind cannot be differentiated, is stopped, or is not used; {mend}")
    for path, reported in gradients.unread(built, batch).items():
        mend = "leave the field out: a backbone gets no numbers"
        if not path.startswith("backbone"):
            mend = "read it from `values` in the function that the factory returns, or leave the field out"
        why = "only what is reported depends on it" if reported else f"no part reads it there; {mend}"
        warn(f"model.{path.replace('/', '.')} changes nothing that is trained: {why}")


def _warn_of_corruption(name: str, built: Built, hyper: Hyper, *, unit_range: bool) -> None:
    keys, images = rows.three(built)
    if draws_again(built.parts.corrupt, keys, images, hyper):
        said = f"{name} draws more than once from the same `keys`, which is the same noise each time"
        warn(f"{said}; take those of `noise.split(keys, 2)`")
    if why := depends_on_rows(built.parts.corrupt, keys, images, hyper):
        said = f"{name} makes an example depend on {why}"
        mend = "let row i depend on image i and key i alone, as jax.vmap over both does"
        warn(f"{said}, {ELSEWHERE}; {mend}")
    most = float(jnp.max(jnp.abs(built.parts.corrupt(keys, images, hyper))))
    if unit_range and most > FAR:
        warn(f"{name} makes {most:.3g} of values in [0, 1], where what it gets lies; are its numbers those of bytes?")


def _warn_of_mixed_rows(own: Mapping[str, str], built: Built, variables: Any, hyper: Hyper) -> None:
    mend = "let row i depend on row i alone, as nn.LayerNorm does where nn.BatchNorm would not"
    if (named := among(own, "backbone", "bottleneck")) and (why := rows.inference_mixes(built, variables, hyper)):
        warn(f"{named} makes the code or the output of an example depend on {why}, {ELSEWHERE}; {mend}")
    if (named := among(own, "likelihood")) and (why := rows.likelihood_mixes(built, variables, hyper)):
        warn(f"{named} makes the nats of an example depend on {why}, {ELSEWHERE}; {mend}")
