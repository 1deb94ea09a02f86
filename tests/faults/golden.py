"""Runs that earlier versions kept (`tests/golden/`), used and continued by this one."""

import json
import tarfile
from pathlib import Path

from faults import harness
from faults.harness import ROOT, Fault, Outcome

PACKED = sorted((ROOT / "tests" / "golden").glob("*.tar.gz"))
STEPS = (3, 6)  # of the checkpoints that each holds
CLOSE = 1e-4  # relative: another processor sums float32 in another order


def attempt(seed: int, where: Path) -> list[Outcome]:
    """Verifies, evaluates at every checkpoint and resumes one of them."""
    packed = PACKED[seed % len(PACKED)]
    name = packed.name.removesuffix(".tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(where, filter="data")
    trouble = harness.wrong(harness.run("verify", name, cwd=where), 0)
    for step in ("latest", "best", *STEPS):
        found = harness.run("evaluate", name, "--step", step, "--json", cwd=where)
        trouble = trouble or harness.wrong(found, 0)
        if not trouble and step == "latest":
            recorded = json.loads((where / name / "summary.json").read_text())["test"]
            metrics = json.loads(found.out)
            far = [key for key, value in recorded.items() if abs(metrics[key] - value) > CLOSE * abs(value)]
            trouble = f"other metrics than it had: {far}" if far else ""
    words = json.loads((where / name / "experiment.json").read_text())["experiment"]
    assert words["train"]["steps"] == STEPS[-1]
    options = (
        *("--model.latent-dim", 2, "--model.backbone.widths", 4, "--data.validation", 100, "--train.steps", 9),
        *("--train.checkpoint-every", 3, "--train.eval-every", 3, "--train.log-every", 3, "--no-report"),
    )
    resumed = harness.run("train", "vae", *options, "--run-dir", name, "--resume", "--json", cwd=where)
    trouble = trouble or harness.wrong(resumed, 0, "from step 6 to step 9")
    return harness.outcomes(f"a run of {name}", name, trouble)


FAULTS = [
    Fault(
        "golden",
        "a run directory of an earlier version",
        "restored, with the metrics it had, and continued; or a refusal that says what to do",
        attempt,
        short=len(PACKED),
        long=len(PACKED),
    )
]
