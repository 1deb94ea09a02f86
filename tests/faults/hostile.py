"""Run directories and data made to attack whoever uses them."""

import random
from pathlib import Path

from faults import harness
from faults.harness import Fault, Outcome
from faults.hostile_archives import bombs, pickles
from faults.hostile_json import deep
from faults.hostile_pages import pages
from faults.hostile_paths import links, paths
from faults.hostile_sizes import shapes
from faults.scene import Scene

ATTACKS = (pickles, paths, bombs, shapes, deep, links, pages)


def attempt(seed: int, where: Path) -> list[Outcome]:
    """One attack of one kind."""
    make = ATTACKS[seed % len(ATTACKS)]
    scene = Scene(where, random.Random(seed))
    cases = list(make(scene))
    case, attack = cases[seed // len(ATTACKS) % len(cases)]
    return harness.outcomes(case, make.__name__, attack())


FAULTS = [
    Fault(
        "hostile",
        "run directories and data made to attack: objects, paths, bombs, shapes, deep JSON, links, HTML",
        "nothing runs, nothing is written outside, memory stays bounded; exit 2, 4 or 5 with one sentence",
        attempt,
        short=3,
        long=140,
    ),
]
