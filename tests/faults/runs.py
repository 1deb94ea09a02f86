"""Short runs that are interrupted, and what they come to when they are not."""

import functools
import tempfile
from pathlib import Path

from faults import harness

# Saves, evaluations and records at different steps, so that every order of them is met.
SHORT = (
    *("--data.validation", "300", "--data.batch-size", "128", "--train.steps", "150", "--train.digest-every", "5"),
    *("--train.eval-every", "10", "--train.checkpoint-every", "7", "--train.log-every", "6"),
)
VARIANTS = {
    "vanilla": (),
    "sparse": ("--model.latent-dim", "32"),
    "denoising": ("--optimizer.ema", "0.9"),
    "vae": ("--model.latent-dim", "4"),
    "conv": ("--model.backbone.features", "4", "8", "--model.latent-dim", "4"),
    "topk": ("model.bottleneck:top-k", "--model.bottleneck.k", "3"),
}
PLACEMENTS = {
    "one device": (1, ()),
    "pmap on 2": (2, ("--train.placement", "pmap")),
    "mesh on 2": (2, ("--train.placement", "mesh", "--train.fsdp", "2")),
    "exact on 2": (2, ("--train.placement", "pmap", "--train.exact", "True")),
}
CASES = [(variant, placement) for placement in PLACEMENTS for variant in VARIANTS]


def words(variant: str, placement: str, run_directory: str = "run") -> list[str]:
    """Arguments of `aeflax` that train a case."""
    preset = "vanilla" if variant == "topk" else variant
    _, where = PLACEMENTS[placement]
    return ["train", preset, *SHORT, *VARIANTS[variant], *where, "--run-dir", run_directory, "--no-report"]


def devices(placement: str) -> int:
    """That a placement needs."""
    return PLACEMENTS[placement][0]


@functools.cache
def undisturbed(variant: str, placement: str) -> dict[tuple[int, str], str]:
    """Digests of every batch and of the states of a case that nothing interrupts."""
    with tempfile.TemporaryDirectory(prefix="aeflax-whole-") as folder:
        done = harness.run(*words(variant, placement), cwd=Path(folder), devices=devices(placement))
        assert not (fault := harness.wrong(done, 0)), fault
        return harness.digests(Path(folder) / "run")
