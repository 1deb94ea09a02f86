"""The section of a report on trust: whether the model copies, whether it overfits."""

from aeflax.applications.findings import Findings
from aeflax.report.sections import Section, Table, Values

_INPUTS = {"data": "test examples", "shuffled": "their features shuffled", "noise": "noise"}


def section(found: Findings) -> Section:
    """What a small reconstruction error is worth."""
    return Section("What the error is worth", sentences(found.values), [table(found.values)])


def sentences(values: Values) -> list[str]:
    """The verdicts, in words."""
    said = _of_copying(values)
    if values["gap"] is not None:
        change = f"{abs(values['gap'] - 1):.1%} {'above' if values['gap'] >= 1 else 'below'}"
        tail = (
            ": it overfits; try fewer epochs, a smaller model, a corruption or more data" if values["overfits"] else ""
        )
        said.append(f"The squared error of test examples is {change} that of training examples{tail}.")
    return said


def _of_copying(values: Values) -> list[str]:
    shares = {name: of["unexplained"] for name, of in values["inputs"].items()}
    if shares["data"] is None:
        return ["The test examples are all alike: their error cannot tell whether it knows more than that one example."]
    compared = (
        f"Of {values['examples']:,} test examples {shares['data']:.1%} of the variance is lost; of the same with each "
        f"feature taken from another example {shares['shuffled']:.1%}, of noise {shares['noise']:.1%}."
    )
    if values["copies"]:
        verdict = (
            "It carries nearly anything through, also what is no data: a small error means little. Try a smaller code, "
            "a sparser one, or a corruption."
        )
    elif values["learnt"]:
        verdict = "It reconstructs data better than what is alike feature by feature: it knows how features depend."
    else:
        verdict = (
            "It reconstructs data hardly better than what is alike feature by feature: it knows little of how features "
            "depend on each other, or they do not."
        )
    return [compared, verdict]


def table(values: Values) -> Table:
    """One row a kind of input."""
    rows = [
        [_INPUTS[name], f"{found['mse']:.5g}", "–" if (lost := found["unexplained"]) is None else f"{lost:.1%}"]
        for name, found in values["inputs"].items()
    ]
    return Table(["input", "mse per feature ↓", "variance lost ↓"], rows)
