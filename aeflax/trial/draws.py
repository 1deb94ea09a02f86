"""Whether parts of a user's own draw as they must: from the keys that they are given, and the same when made anew."""

import functools

import jax

from aeflax.build import Built
from aeflax.engine.compiling import PROGRAMS
from aeflax.own_parts import ADDRESSED, ELSEWHERE, require_addressed, require_pure, require_repeated
from aeflax.program import Program
from aeflax.trial.stages import Stages, among, own_parts


def require_own_noise(program: Program) -> None:
    """Raises ConfigError where parts of a user's own draw from NumPy, or a corruption otherwise than by its keys."""
    _require_own_noise(program.built, program.experiment.data.batch_size)


@functools.lru_cache(maxsize=PROGRAMS)
def _require_own_noise(built: Built, batch: int) -> None:
    own = own_parts(built.model)
    if not own:
        return
    stages, again = Stages(built, batch), Stages(built.anew(), batch)
    if "corruption" in own:
        noise = stages.keys, stages.images, stages.hyper
        require_addressed(own["corruption"], stages.corrupt, *noise)
        require_repeated(own["corruption"], stages.corrupt, again.corrupt, *noise)
    # A key of one's own may be meant here: of a projection that is drawn once and kept.
    if named := among(own, "backbone", "bottleneck"):
        batched = stages.keys, stages.variables, stages.images, stages.hyper
        require_pure(named, ADDRESSED, stages.apply, *batched)
        require_repeated(named, stages.apply, again.apply, *batched)
    if named := among(own, "likelihood", "penalties"):
        judged = stages.outputs, stages.images, stages.hyper
        require_pure(named, ELSEWHERE, stages.judge, *judged)
        require_repeated(named, stages.judge, again.judge, *judged)
    other = Stages(built, batch + 1)  # an evaluation's batches are of other sizes
    jax.eval_shape(other.judge, other.outputs, other.images, other.hyper)
