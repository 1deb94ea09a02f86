"""How far a run has come: what is due, and how far it is to what is due next."""

from hypothesis import given
from hypothesis import strategies as st

from aeflax.training.odometer import Odometer

every = st.none() | st.integers(1, 50)


@given(st.integers(1, 200), st.integers(0, 199), every, every)
def test_ahead_leads_to_the_next_step_at_which_something_is_due(total, step, log, save):
    at = Odometer(total, steps_per_epoch=7)
    at.step = step % total
    due = next(
        later
        for later in range(at.step + 1, total + 1)
        if later == total or any(n and later % n == 0 for n in (log, save))
    )
    assert at.step + at.ahead(log, save) == due


def test_what_is_due_is_due_at_the_last_step_too():
    at = Odometer(10, steps_per_epoch=4)
    found = {}
    for at.step in range(1, 11):
        found[at.step] = at.due(4), at.due(None)
    assert [step for step, (often, _) in found.items() if often] == [4, 8, 10]
    assert not any(never for _, never in found.values())
    assert (at.epoch, at.at_end) == (2.5, True)


def test_a_stop_tells_where():
    at = Odometer(10, steps_per_epoch=4)
    at.step = 3
    assert str(at.stopped()).startswith("stopped at step 3 of 10; ")
    assert at.stopped().details == {"step": 3}
