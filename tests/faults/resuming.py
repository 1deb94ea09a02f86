"""Another experiment, other data or other versions than those of the run that is resumed."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from faults import harness, quick
from faults.harness import Fault, Outcome

# Words, and what is named of them; each field that decides a result, or what is logged and kept of it.
CHANGES: list[tuple[list[str], str]] = [
    (["--data.batch-size", "64"], "data.batch_size: 128 -> 64"),
    (["--data.holdout", "0.3"], "data.holdout: 0.2 -> 0.3"),
    (["--data.validation", "50"], "data.validation: 0 -> 50"),
    (["--data.scale", "unit"], "data.scale: 'none' -> 'unit'"),
    (["--data.binarize", "dynamic"], "data.binarize: 'none' -> 'dynamic'"),
    (["--data.limit", "500"], "data.limit: None -> 500"),
    (["--data.classes", "1", "2"], "data.classes: () -> (1, 2)"),
    (["--model.latent-dim", "5"], "model.latent_dim: 4 -> 5"),
    (["--model.backbone.widths", "9"], "model.backbone.widths: () -> (9,)"),
    (["--model.backbone.activation", "tanh"], "model.backbone.activation: 'relu' -> 'tanh'"),
    (["--model.backbone", "conv"], "model.backbone.kind: 'dense' -> 'conv'"),
    (["--model.corruption", "masking"], "model.corruption.kind: 'none' -> 'masking'"),
    (["--model.likelihood", "gaussian"], "model.likelihood.kind: 'bernoulli' -> 'gaussian'"),
    (["--model.penalties.l1", "on"], "model.penalties.l1: None -> {'weight': 0.1}"),
    (["--model.penalties.kl.beta", "2"], "model.penalties.kl.beta: 1.0 -> 2.0"),
    (["--model.penalties.kl.warmup-steps", "7"], "model.penalties.kl.warmup_steps: 0 -> 7"),
    (["--model.penalties.kl.free-bits", "0.1"], "model.penalties.kl.free_bits: None -> 0.1"),
    (["--optimizer.name", "adamw"], "optimizer.name: 'adam' -> 'adamw'"),
    (["--optimizer.learning-rate", "0.01"], "optimizer.learning_rate: 0.001 -> 0.01"),
    (["--optimizer.b1", "0.8"], "optimizer.b1: None -> 0.8"),
    (["--optimizer.b2", "0.9"], "optimizer.b2: None -> 0.9"),
    (["--optimizer.eps", "1e-06"], "optimizer.eps: 1e-08 -> 1e-06"),
    (["--optimizer.schedule", "cosine"], "optimizer.schedule: 'constant' -> 'cosine'"),
    (["--optimizer.warmup-steps", "3"], "optimizer.warmup_steps: 0 -> 3"),
    (["--optimizer.final", "0.5"], "optimizer.final: 0.01 -> 0.5"),
    (["--optimizer.schedule", "piecewise", "--optimizer.boundaries", "9"], "optimizer.boundaries: () -> (9,)"),
    (["--optimizer.factor", "0.5"], "optimizer.factor: 0.1 -> 0.5"),
    (["--optimizer.weight-decay", "0.1"], "optimizer.weight_decay: None -> 0.1"),
    (["--optimizer.clip-norm", "1"], "optimizer.clip_norm: None -> 1.0"),
    (["--optimizer.ema", "0.9"], "optimizer.ema: None -> 0.9"),
    (["--train.seed", "1"], "train.seed: 0 -> 1"),
    (["--train.precision", "bfloat16"], "train.precision: 'float32' -> 'bfloat16'"),
    (["--train.accumulate", "2"], "train.accumulate: 1 -> 2"),
    (["--train.exact", "True"], "train.exact: False -> True"),
    (["--train.eval-every", "7"], "train.eval_every: None -> 7"),
    (["--data.validation", "60", "--train.patience", "3"], "train.patience: None -> 3"),
    (["--data.validation", "70", "--train.monitor", "mse"], "train.monitor: None -> 'mse'"),
    (["--train.max-nonfinite", "3"], "train.max_nonfinite: 10 -> 3"),
]
# What may change, and with how many devices.
FREE: list[tuple[list[str], int]] = [
    (["--train.steps", "80"], 1),
    (["--train.steps", "None", "--train.epochs", "7"], 1),
    (["--train.steps", "80", "--train.placement", "pmap"], 2),
    (["--train.steps", "80", "--train.placement", "mesh", "--train.fsdp", "2"], 2),
    (["--train.steps", "80", "--train.placement", "mesh", "--train.sharding", "kernel=none"], 2),
    (["--train.steps", "80", "--train.rematerialize", "True"], 1),
    (["--train.steps", "80", "--data.resident", "False"], 1),
    (["--train.steps", "80", "--data.resident", "False", "--data.workers", "2"], 1),
    (["--train.steps", "80", "--train.digest-every", "10"], 1),
    (["--train.steps", "80", "--train.log-every", "7", "--train.checkpoint-every", "15"], 1),
]
VERSIONS = ("python", "jax", "numpy", "aeflax")


def resume(seed: int, where: Path) -> list[Outcome]:
    """A finished run, and a command that goes on with it in another way."""
    kinds = {"another configuration": changed, "other data": elsewhere, "what may change": free, "other versions": aged}
    kind = list(kinds)[seed % len(kinds)]
    folder = quick.kept("npy:a.npy") if kind == "other data" else quick.kept()
    shutil.copytree(folder, where, dirs_exist_ok=True)
    case, trouble = kinds[kind](random.Random(seed), seed // len(kinds), where)
    return harness.outcomes(f"{case}, seed {seed}", kind, trouble)


def resumes(where: Path, *words: str, **options: Any) -> harness.Command:
    """The command of the kept run, with other words."""
    return harness.run(*quick.TRAIN, "run", *words, "--resume", cwd=where, **options)


def tree(run_directory: Path) -> dict[str, bytes]:
    """All files but the lock."""
    found = (path for path in sorted(run_directory.rglob("*")) if path.is_file() and path.name != "run.lock")
    return {str(path): path.read_bytes() for path in found}


def changed(chance: random.Random, turn: int, where: Path) -> tuple[str, str]:
    """Three changes, of which each is named; the run stays as it was. Fifteen turns go through all of them."""
    chosen = [CHANGES[(turn + apart) % len(CHANGES)] for apart in (0, 14, 28)]
    chance.shuffle(chosen)
    words, before = [word for words, _ in chosen for word in words], tree(where / "run")
    done = resumes(where, *words)
    trouble = harness.wrong(done, 2, "--resume finds another experiment", *(said for _, said in chosen))
    if not trouble and done.err.count("aeflax: ") != 1:
        trouble = f"not one sentence: {done.err[-300:]}"
    return " ".join(words), trouble or ("" if tree(where / "run") == before else "the run was changed")


def elsewhere(_: random.Random, turn: int, where: Path) -> tuple[str, str]:
    """Other examples, no file, fewer steps."""
    case = ("other content", "one value", "gone", "fewer steps", "fewer examples", "imputed")[turn % 6]
    file, words = where / "a.npy", []
    examples, said, code = np.load(file), "train: the data differ", 2
    if case == "other content":
        np.save(file, examples[::-1])
    elif case == "one value":
        examples[7, 3, 3] = 1 - examples[7, 3, 3]
        np.save(file, examples)
    elif case == "fewer examples":
        np.save(file, examples[:500])
    elif case == "imputed":
        words, said = ["--data.impute", "mean"], "data.impute: 'none' -> 'mean'"
    elif case == "gone":
        file.unlink()
        said, code = "cannot read a.npy", 5
    else:
        words, said = ["--train.steps", "40"], "train.steps: 60 -> 40"
    before = tree(where / "run")
    trouble = harness.refusal(resumes(where, "--data.source", "npy:a.npy", *words), code, said)
    return case, trouble or ("" if tree(where / "run") == before else "the run was changed")


def free(_: random.Random, turn: int, where: Path) -> tuple[str, str]:
    """What may change: the run is trained to its new end."""
    words, devices = FREE[turn % len(FREE)]
    trouble = harness.wrong(resumes(where, *words, devices=devices), 0, "from step 60")
    trouble = trouble or harness.wrong(harness.run("verify", "run", cwd=where), 0)
    if not trouble and (step := json.loads((where / "run" / "summary.json").read_text())["step"]) <= 60:
        trouble = f"it ended at step {step}"
    return " ".join(words), trouble


def aged(chance: random.Random, _: int, where: Path) -> tuple[str, str]:
    """A run of other versions goes on with one warning, and its manifest keeps both."""
    from aeflax.rundir.runs import MANIFEST
    from aeflax.storage.document import read_json, write_json

    place = where / "run" / MANIFEST
    manifest = read_json(place) or {}
    now = manifest["versions"]
    others = chance.sample(VERSIONS, chance.randint(1, len(VERSIONS)))
    old = now | dict.fromkeys(others, "0.0.1")
    write_json(place, manifest | {"versions": old})
    first, second = (resumes(where, "--train.steps", steps) for steps in ("80", "100"))
    told = [line for line in first.err.splitlines() if line.startswith("aeflax: ")]
    trouble = harness.wrong(first, 0, *(f"{name} {now[name]}" for name in others)) or harness.wrong(second, 0)
    if not trouble and not (len(told) == 1 and all(f"{name} 0.0.1" in told[0] for name in others)):
        trouble = f"it warned {told}"
    if not trouble and "aeflax: " in second.err:
        trouble = f"it warned again: {second.err}"
    kept_now = read_json(place) or {}
    if not trouble and (kept_now["versions"], kept_now.get("resumed_with")) != (old, [now]):
        trouble = f"the manifest says {kept_now['versions']}, {kept_now.get('resumed_with')}"
    return ", ".join(others), trouble or harness.wrong(harness.run("verify", "run", cwd=where), 0)


FAULTS = [
    Fault(
        "resume",
        "resumed with another configuration, other data, other versions",
        "exit 2 with every difference, the run untouched; what may change goes on; with other versions it warns",
        resume,
        short=2,
        long=60,
    ),
]
