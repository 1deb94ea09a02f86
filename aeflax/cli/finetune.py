"""`aeflax finetune`: whether a classifier gains from beginning with a kept run's encoder."""

from dataclasses import dataclass

from aeflax.cli.kept import RunCommand, open_run, show
from aeflax.cli.parsing import parse


@dataclass(frozen=True, kw_only=True)
class FinetuneCommand(RunCommand):
    """Arguments of `aeflax finetune`."""

    # labelled training examples of each class; several numbers are tried in turn
    labels_per_class: tuple[int, ...]
    # updates of each classifier
    steps: int = 1000
    # examples of an update, fewer where there are fewer
    batch_size: int = 128
    # of Adam
    learning_rate: float = 1e-3
    # draws of labelled examples, their order and weights, over which the intervals are
    seeds: int = 5


def main(arguments: list[str]) -> int:
    """Trains classifiers with the run's encoder and from scratch, and keeps what is found for its report."""
    what = "Test accuracy of classifiers that begin with a run's encoder, and of the same network from scratch."
    command: FinetuneCommand = parse(FinetuneCommand, arguments, "aeflax finetune", what)
    run = open_run(command)

    from aeflax.applications.classifier import Budget
    from aeflax.report import codes

    budget = Budget(steps=command.steps, batch_size=command.batch_size, learning_rate=command.learning_rate)
    found = run.judge.finetuning(command.labels_per_class, budget=budget, seeds=command.seeds)
    show(command, run, found, [codes.finetune_table(found)])
    return 0
