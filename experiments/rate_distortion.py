r"""The rate-distortion curve of a variational autoencoder: 16 values of beta, four seeds each, one compiled program.

    python -m experiments rate_distortion

The same from the command line:

    aeflax sweep vae --data.source mnist --model.latent-dim 16 --data.batch-size 256 --train.epochs 5 \
        --grid model.penalties.kl.beta=0.05,0.07,... --grid train.seed=0..3

Expected: no published figures of this model; Alemi et al. 2018 (arXiv:1711.00464) show that beta moves a model along a
curve of rate (KL to the prior, nats) against distortion (reconstruction, nats), which is convex, and that the ELBO, the
sum of both, is best near beta 1.
Protocol: MNIST in [0, 1], the preset `vae` with a code of 16, batches of 256, five epochs, Adam at 1e-3. Beta from .05
to 20 in equal ratios. Figures of the test split: one posterior sample an example.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aeflax import presets
from aeflax.config import KL, Data, Penalties, Train

BASE = presets.vae(16)
CONFIG = replace(
    BASE,
    data=Data(source="mnist", batch_size=256),
    model=replace(BASE.model, penalties=Penalties(kl=KL(beta=1.0))),
    train=Train(epochs=5),
)
BETA = "model.penalties.kl.beta"
BETAS = tuple(float(f"{beta:.3g}") for beta in np.geomspace(0.05, 20, 16))
SEEDS = range(4)
SHOWN = ("kl", "reconstruction_nats", "elbo", "mse")


def measure(out: Path, betas: Sequence[float] = BETAS, seeds: range = SEEDS) -> dict[str, Any]:
    """One row a beta, means and intervals over seeds; and what the one program took."""
    import aeflax
    from aeflax.population.leaderboard import leaderboard

    found = aeflax.sweep(
        CONFIG, {BETA: betas, "train.seed": seeds}, run_dir=out, overwrite=(out / "sweep.json").exists(), preset="vae"
    )
    rows = leaderboard(found.members, "kl")
    return {
        "rows": [
            {
                "beta": row["settings"][BETA],
                "diverged": row["diverged"],
                **{name: row["metrics"][name] for name in SHOWN},
            }
            for row in rows
        ],
        "groups": found.groups,
    }
