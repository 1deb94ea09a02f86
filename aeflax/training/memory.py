"""What a user can do where a model or its batch does not fit into memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from aeflax.config import Experiment
from aeflax.errors import ConfigError, is_out_of_memory, reason


@contextmanager
def named(experiment: Experiment, *, resident: bool = False) -> Iterator[None]:
    """Turns what the host or a device without memory raises into a ConfigError that names the settings which matter.

    Args:
      experiment: a resolved one.
      resident: the data cannot be streamed.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        data, train = experiment.data, experiment.train
        pieces = f"compute it in pieces (train.accumulate={2 * train.accumulate})"
        tries = [pieces, f"lower data.batch_size={data.batch_size}"]
        if not train.rematerialize:
            tries.append("keep fewer activations (train.rematerialize=True)")
        if not resident and data.resident is not False:
            tries.append("stream the data (data.resident=False)")
        raise ConfigError(
            f"out of memory in a step of {data.batch_size:,} examples ({reason(error)}); {', '.join(tries)} or make "
            "the model smaller"
        ) from error
