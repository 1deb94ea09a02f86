"""What sparsity costs: active units against the variance that they leave unexplained, for four sparse kinds.

    python -m experiments sparse_front

Expected: no published figure on MNIST; Bussmann et al. 2024 and Rajamanoharan et al. 2024 find BatchTopK and JumpReLU
ahead of TopK, and all three ahead of L1, on activations of language models.
Protocol: MNIST in [0, 1], 512 units, one matrix each for encoder and decoder, Gaussian likelihood of scale 1, the
decoder as a dictionary (`model.dictionary`: unit-norm directions, transpose start, pre-bias; AuxK but for L1, whose
code has no unselected units), 4,000 steps of 128 by Adam at 1e-3 with a cosine to its hundredth; JumpReLU at 3e-3:
its thresholds are learnt as logarithms and do not come far enough at less. Five settings a kind: k, the mean k, the
weight of L1 or of L0; none is chosen, the whole front is told. Figures are of the test split.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aeflax import presets
from aeflax.config import (
    L0,
    L1,
    BatchTopK,
    Data,
    Dense,
    Dictionary,
    Experiment,
    GaussianLikelihood,
    JumpReLU,
    Optimizer,
    Penalties,
    Sparse,
    TopK,
    Train,
)
from experiments.runs import measured

UNITS = 512
BASE = presets.sparse(UNITS)
CONFIG = replace(
    BASE,
    data=Data(source="mnist", batch_size=128),
    model=replace(BASE.model, backbone=Dense(widths=()), likelihood=GaussianLikelihood(), dictionary=Dictionary()),
    optimizer=Optimizer(learning_rate=1e-3, schedule="cosine"),
    train=Train(steps=4000),
)
ACTIVE = (4, 8, 16, 32, 64)
WEIGHTS = {"l1": (0.003, 0.01, 0.03, 0.1, 0.2), "jump-relu": (0.003, 0.01, 0.03, 0.1, 0.3)}
JUMP_RATE = 3e-3  # learning rate
# What a setting of each kind changes of the model.
KINDS: Mapping[str, Mapping[float, Mapping[str, Any]]] = {
    "l1": {
        weight: {
            "bottleneck": Sparse(),
            "penalties": Penalties(l1=L1(weight=weight)),
            "dictionary": Dictionary(auxk_weight=None),
        }
        for weight in WEIGHTS["l1"]
    },
    "top-k": {k: {"bottleneck": TopK(k=k), "penalties": Penalties()} for k in ACTIVE},
    "batch-top-k": {k: {"bottleneck": BatchTopK(mean_k=float(k)), "penalties": Penalties()} for k in ACTIVE},
    "jump-relu": {
        weight: {"bottleneck": JumpReLU(), "penalties": Penalties(l0=L0(weight=weight))}
        for weight in WEIGHTS["jump-relu"]
    },
}
SHOWN = ("l0", "l1", "mse", "unexplained", "cosine", "l2_ratio", "dead_fraction", "coherence")


def experiment(kind: str, setting: float) -> Experiment:
    """The run of one point."""
    found = replace(CONFIG, model=replace(CONFIG.model, **KINDS[kind][setting]))
    if kind != "jump-relu":
        return found
    return replace(found, optimizer=replace(found.optimizer, learning_rate=JUMP_RATE))


def measure(out: Path) -> list[dict[str, Any]]:
    """One row a kind and setting: its sparse panel on the test split."""
    rows = []
    for kind, settings in KINDS.items():
        for setting in settings:
            run, found = measured(experiment(kind, setting), out / f"{kind}-{setting:g}", kind)
            panel = run.judge.diagnosis()["sparsity"]
            rows.append({"kind": kind, "setting": setting, **{name: panel[name] for name in SHOWN}, **found})
    return rows
