"""Whether sparse kinds find the dictionary that made the data: the one test of them with a known answer.

    python -m experiments dictionary_recovery

Expected: no published figure; a random dictionary, the row `random`, is what each kind is held against.
Protocol: 64 directions of unit length in 32 features, drawn from a normal distribution; an example adds each of them
with probability 3 / 64, with a strength uniform in [.5, 1.5], and Gaussian noise of deviation .01 (the toy data of
Sharkey et al. 2022, with directions that are active independently). 20,000 examples, of which 4,000 are test; 64 units
and a Gaussian likelihood, 8,000 steps of 256 by Adam at 3e-3 with a cosine to its hundredth; three seeds draw
dictionary, examples and weights. Directions found and true ones are matched one to one so that the sum of their cosines
is largest (Hungarian method); `cosine` is the mean of these, `recovered` the share above .9. Weights of the penalties
were chosen by their cosine on a further seed, of .03, .1 and .3 for L1 and of .01, .1 and 1 for the rate. Neither
penalty holds the decoder's directions to a length, so a small code with long directions escapes it. Rows named
`+ dictionary` hold them (`model.dictionary`: unit norm, transpose start, pre-bias, AuxK but for L1) and change nothing
else. A sigmoid code has no such row: its units are never idle.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aeflax import presets
from aeflax.config import (
    L0,
    L1,
    BatchTopK,
    Data,
    Dictionary,
    GaussianLikelihood,
    JumpReLU,
    Lifetime,
    Optimizer,
    Penalties,
    Rate,
    Sparse,
    TopK,
    Train,
)

FEATURES, DIRECTIONS, ACTIVE, EXAMPLES, NOISE = 32, 64, 3, 20_000, 0.01
RECOVERED = 0.9  # cosine
SEEDS = range(3)

BASE = presets.sparse(DIRECTIONS)
CONFIG = replace(
    BASE,
    data=Data(source="array", batch_size=256),
    model=replace(BASE.model, likelihood=GaussianLikelihood()),
    optimizer=Optimizer(learning_rate=3e-3, schedule="cosine"),
    train=Train(steps=8000),
)
# What each kind changes of the model.
KINDS: dict[str, Mapping[str, Any]] = {
    "l1": {"bottleneck": Sparse(), "penalties": Penalties(l1=L1(weight=0.1))},
    "rate": {"bottleneck": Sparse(), "penalties": Penalties(rate=Rate(target=ACTIVE / DIRECTIONS, weight=1.0))},
    "top-k": {"bottleneck": TopK(k=ACTIVE), "penalties": Penalties()},
    "batch-top-k": {"bottleneck": BatchTopK(mean_k=float(ACTIVE)), "penalties": Penalties()},
    "jump-relu": {"bottleneck": JumpReLU(), "penalties": Penalties(l0=L0(weight=0.1))},
    "lifetime": {"bottleneck": Lifetime(rate=ACTIVE / DIRECTIONS), "penalties": Penalties()},
}
KINDS |= {
    f"{kind} + dictionary": {**KINDS[kind], "dictionary": Dictionary(auxk_weight=None if kind == "l1" else 1 / 32)}
    for kind in KINDS
    if kind != "rate"
}


def measure(out: Path, kinds: Mapping[str, Mapping[str, Any]] = KINDS, seeds: range = SEEDS) -> list[dict[str, Any]]:
    """One row a kind: how much of the dictionary it finds, mean and interval over seeds, and its sparse panel."""
    import aeflax
    from aeflax.evaluation.intervals import share

    rows: dict[str, dict[str, list[float]]] = {}
    for seed in seeds:
        examples, known = drawn(seed)
        guess = np.random.default_rng((seed, 1)).standard_normal(known.shape)
        found = {"random": recovery(guess, known)}
        for kind, changes in kinds.items():
            model = replace(CONFIG.model, **changes)
            experiment = replace(CONFIG, model=model, train=replace(CONFIG.train, seed=seed))
            run = aeflax.train(experiment, examples, report=False)
            directions = run.inference.dictionary(np.eye(DIRECTIONS, dtype=np.float32))
            panel = run.judge.diagnosis()["sparsity"]
            shown = {name: panel[name] for name in ("l0", "unexplained", "dead_fraction", "l2_ratio")}
            found[kind] = recovery(directions, known) | shown
        for kind, metrics in found.items():
            for name, value in metrics.items():
                rows.setdefault(kind, {}).setdefault(name, []).append(value)
    mean = {kind: {name: float(np.mean(each)) for name, each in of.items()} for kind, of in rows.items()}
    return [
        {"kind": kind, **mean[kind], "cosine": share(of["cosine"]), "recovered": share(of["recovered"])}
        for kind, of in rows.items()
    ]


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Examples [N, F] float32, and the directions [K, F] of unit length that they are sums of."""
    random = np.random.default_rng(seed)
    known = random.standard_normal((DIRECTIONS, FEATURES))
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    active = random.uniform(size=(EXAMPLES, DIRECTIONS)) < ACTIVE / DIRECTIONS
    strength = active * random.uniform(0.5, 1.5, active.shape)
    noise = NOISE * random.standard_normal((EXAMPLES, FEATURES))
    return (strength @ known + noise).astype(np.float32), known


def recovery(found: np.ndarray, known: np.ndarray) -> dict[str, float]:
    """`cosine` and `recovered` of directions [K, F], matched one to one with known ones [J, F] of unit length.

    Known ones that are left over where there are fewer found ones count as 0.
    """
    from scipy.optimize import linear_sum_assignment

    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    cosines = known @ (found / np.maximum(lengths, 1e-12)).T
    pairs = linear_sum_assignment(cosines, maximize=True)
    matched = cosines[pairs]
    return {
        "cosine": float(matched.sum() / len(known)),
        "recovered": float(np.sum(matched > RECOVERED) / len(known)),
    }
