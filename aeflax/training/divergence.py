"""What a run that diverged says: where, after what, and what to try."""

from collections.abc import Mapping

from aeflax.config import Experiment
from aeflax.definitions import defined_in
from aeflax.errors import DivergedError


def skipped(
    experiment: Experiment, step: int, in_row: int, last: Mapping[str, float], first: str | None
) -> DivergedError:
    """Too many updates in a row were not applied, up to a step.

    Args:
      experiment: what was trained.
      step: updates that were tried.
      in_row: skipped ones.
      last: metrics of good ones before them.
      first: what was not finite first in the last of them, where that is known.
    """
    what = f"{in_row} updates in a row before step {step} had a non-finite loss or gradient and were skipped"
    named = f"; the first that was not finite: {first}" if first else ""
    return _diverged(step, f"{what} ({_last_good(last)}{named}); {_what_to_try(experiment, begun=bool(last))}")


def overflowed(experiment: Experiment, step: int, held: int | None, last: Mapping[str, float]) -> DivergedError:
    """The weights of a step are not finite, and nothing leads back from them; `held` is the newest step saved."""
    kept = "nothing was saved" if held is None else f"the last good state, of step {held}, is saved"
    what = f"the weights at step {step} are not finite"
    return _diverged(step, f"{what} ({_last_good(last)}; {kept}); {_what_to_try(experiment)}")


def unusable(experiment: Experiment, step: int, what: str, *, reconstructs: bool) -> DivergedError:
    """What the final evaluation found is not finite, although reconstructions may be."""
    own = " and ".join(defined_in(experiment))
    mend = f"check what {own} computes" if own and reconstructs else _what_to_try(experiment)
    return _diverged(step, f"{what} at step {step} is not finite; {mend}")


def _diverged(step: int, what: str) -> DivergedError:
    return DivergedError(f"training diverged: {what}").telling(step=step)


def _last_good(means: Mapping[str, float]) -> str:
    if not means:
        return "no update before them was good"
    loss, norm = means["loss"], means["gradient_norm"]
    return f"the last good updates had a loss of {loss:.4g} nats and a gradient norm of {norm:.4g}"


def _what_to_try(experiment: Experiment, *, begun: bool = True) -> str:
    """A few mends; before any update was good, no learning rate is to blame where parts of a user's own compute."""
    own = " and ".join(defined_in(experiment))
    if own and not begun:
        return f"check what {own} computes, for the loss of the very first batch or its gradient is not finite"
    optimizer = experiment.optimizer
    tries = [f"lower optimizer.learning_rate={optimizer.learning_rate:g}"]
    tries += [f"set optimizer.{name}" for name in ("clip_norm", "warmup_steps") if not getattr(optimizer, name)]
    return " or ".join([*([f"check what {own} computes"] if own else []), *tries])
