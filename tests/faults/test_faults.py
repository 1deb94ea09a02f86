"""A few seeds of every fault; `make test-faults` tries many more."""

import pytest
from faults import campaign

ATTEMPTS = [
    pytest.param(fault, seed, id=f"{fault.name}-{seed}") for fault in campaign.faults() for seed in range(fault.short)
]


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "seed"), ATTEMPTS)
def test_the_right_behaviour_is_seen(fault, seed, tmp_path):
    outcomes = fault.attempt(seed, tmp_path)
    assert outcomes
    failed = [f"{outcome.case} ({outcome.phase}): {outcome.note}" for outcome in outcomes if not outcome.held]
    assert not failed, "\n".join(failed)


def test_every_module_of_faults_is_tried():
    found = {path.stem for path in campaign.HERE.glob("*.py")}
    assert found == {*campaign.MODULES, *campaign.HELPERS, "campaign", "test_faults", "test_corpus"}
    names = [fault.name for fault in campaign.faults()]
    assert len(names) == len(set(names))
