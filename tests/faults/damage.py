"""Checkpoints that are not what was saved any more: every file of one, emptied, halved, one bit flipped or deleted."""

import functools
import random
import shutil
import tempfile
import warnings
from pathlib import Path

from faults import harness
from faults.harness import Fault, Outcome

WORDS = (
    *("train", "vae", "--model.latent-dim", "4", "--train.steps", "60", "--train.checkpoint-every", "20"),
    *("--train.digest-every", "20", "--no-report", "--run-dir", "run"),
)
NEWEST, BEFORE, STEPS = 60, 40, 90
CHANGES = ("emptied", "halved", "one bit flipped", "deleted")


@functools.cache
def kept() -> Path:
    """A finished run with the checkpoints 40 and 60, in a folder of its own."""
    folder = harness.lasting_folder()
    done = harness.run(*WORDS, cwd=folder)
    assert not (fault := harness.wrong(done, 0)), fault
    return folder / "run"


@functools.cache
def longer() -> dict[tuple[int, str], str]:
    """Digests of the same run, trained for longer and never disturbed."""
    with tempfile.TemporaryDirectory(prefix="aeflax-longer-") as folder:
        done = harness.run(*WORDS, "--train.steps", STEPS, cwd=Path(folder))
        assert not (fault := harness.wrong(done, 0)), fault
        return harness.digests(Path(folder) / "run")


def files(run_directory: Path) -> list[Path]:
    """Those of the newest checkpoint, relative to the run directory."""
    held = sorted((run_directory / "checkpoints" / str(NEWEST)).rglob("*"))
    return [path.relative_to(run_directory) for path in held if path.is_file()]


def damage(path: Path, change: str, chance: random.Random) -> bool:
    """Changes a file; False where there is nothing to change."""
    content = bytearray(path.read_bytes())
    if not content and change != "deleted":
        return False
    if change == "one bit flipped":
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content[: {"emptied": 0, "halved": len(content) // 2}.get(change, len(content))])
    if change == "deleted":
        path.unlink()
    return True


def restored(seed: int, where: Path) -> list[Outcome]:
    """One damaged file; the run is loaded, then taken for more training, in this process."""
    import aeflax
    from aeflax.errors import AeflaxWarning
    from aeflax.rundir.checkpoint import Checkpoints, state_sha256
    from aeflax.storage import seal

    where = where / "run"
    shutil.copytree(kept(), where)
    chance, held = random.Random(seed), files(where)
    name, change = held[seed // len(CHANGES) % len(held)], CHANGES[seed % len(CHANGES)]
    if not damage(where / name, change, chance):
        return [Outcome(f"{name}, {change}", change, True, "an empty file")]
    harmless = name.name in seal.UNSEALED and len(name.parts) == 3  # a restore needs neither
    step, trouble = (NEWEST if harmless else BEFORE), ""
    wanted = harness.digests(kept())[step, "state"]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = aeflax.load(where)
        if state_sha256(run.state) != wanted or run.step != step:
            trouble = f"loaded step {run.step}, whose values are not those of {step}"
        untouched = (where / name).exists() != (change == "deleted")
        with Checkpoints(where / "checkpoints", held=True) as checkpoints:
            state, _ = checkpoints.restore(run._program.template())
        if not trouble and state_sha256(state) != wanted:
            trouble = "resuming takes other values"
    said = [str(one.message) for one in told if issubclass(one.category, AeflaxWarning)]
    if not trouble and [f"checkpoints/{NEWEST} " in line for line in said] != [True] * (0 if harmless else 2):
        trouble = f"warned: {said}"
    if not trouble and not harmless and not ((where / "damaged" / str(NEWEST)).is_dir() and untouched):
        trouble = "it was not moved to damaged/, or too early"
    return harness.outcomes(f"{name}, {change}", change, trouble)


def resumed(seed: int, where: Path) -> list[Outcome]:
    """One or more damaged files, through the command: verify, evaluate, train on."""
    from aeflax.storage import seal

    chance = random.Random(1000 + seed)
    shutil.copytree(kept(), where / "run")
    change = CHANGES[seed % len(CHANGES)]
    covered = [name for name in files(where / "run") if name.name not in seal.UNSEALED]
    names = chance.sample(covered, chance.choice((1, 1, 3)))
    for name in names:
        damage(where / "run" / name, change, chance)
    trouble = harness.wrong(harness.run("verify", "run", cwd=where), 4, "goes on from step 40")
    if not trouble:
        evaluated = harness.run("evaluate", "run", cwd=where)
        trouble = harness.wrong(evaluated, 0, "step 40", f"checkpoints/{NEWEST} is damaged")
    if not trouble:
        done = harness.run(*WORDS, "--train.steps", STEPS, "--resume", cwd=where)
        trouble = harness.wrong(done, 0, f"checkpoints/{NEWEST}", "moved to", f"damaged/{NEWEST}")
    if not trouble and (wrong := harness.differing(harness.digests(where / "run"), longer())):
        trouble = f"other digests than undamaged: {wrong[:3]}"
    if not trouble:
        trouble = harness.wrong(harness.run("verify", "run", cwd=where), 0)
    return harness.outcomes(f"{', '.join(map(str, names))}, {change}", change, trouble)


RIGHT = "found by its seal, moved aside, the one before restored, a warning that names it; never wrong weights"
FAULTS = [
    Fault("damage", "a damaged checkpoint: each file emptied, halved, flipped, deleted", RIGHT, restored, 8, 560),
    Fault(
        "damage-resume", "the same through verify, evaluate and --resume", RIGHT + ", and equal digests", resumed, 1, 40
    ),
]
