"""A sweep's members are the runs that they would be alone, whatever trains beside them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from variants import BY_VARIANT, EXAMPLES, experiment, images

import aeflax
from aeflax import config
from aeflax.errors import AeflaxWarning, ConfigError, DataError, StoppedError
from aeflax.population import program
from aeflax.population.grid import axes, members
from aeflax.population.group import grouped
from aeflax.population.record import SWEEP
from aeflax.population.sweep import sweep
from aeflax.rundir.checkpoint import Checkpoints
from aeflax.storage.document import read_json, write_json

DATA = images(EXAMPLES * 5 // 4)
RATES, SEEDS = (1e-3, 3e-3), (3, 5)
GRID = {"optimizer.learning_rate": RATES, "train.seed": SEEDS}


def alone(settings, rate, seed):
    varied = replace(
        settings,
        optimizer=replace(settings.optimizer, learning_rate=rate),
        train=replace(settings.train, seed=seed),
    )
    return aeflax.train(varied, DATA, report=False)


def largest_difference(a, b):
    pairs = zip(jax.tree.leaves(jax.device_get(a)), jax.tree.leaves(jax.device_get(b)), strict=True)
    differences = [np.abs(np.asarray(x, np.float64) - np.asarray(y, np.float64)) for x, y in pairs]
    return max((float(np.max(found, initial=0)) for found in differences), default=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("variant", BY_VARIANT)
def test_every_member_is_the_run_that_it_would_be_alone(variant, tmp_path):
    """To the bit on a processor, which trains one member after the other with the operations of a run."""
    settings = experiment(variant)
    found = sweep(settings, GRID, DATA, run_dir=tmp_path / "sweep")
    runs = [found.load(member["index"]) for member in found.members]
    with pytest.raises(ConfigError, match="has no member 99; they are numbered from 0 to 3"):
        found.load(99)
    # The first and the last differ in all that varies.
    for run, rate, seed in ((runs[0], RATES[0], SEEDS[0]), (runs[-1], RATES[1], SEEDS[1])):
        single = alone(settings, rate, seed)
        assert largest_difference(run.state, single.state) == 0
        assert run.summary["test"] == single.summary["test"]
        assert int(run.state.step) == int(single.state.step) == 7
    assert largest_difference(runs[0].state.params, runs[1].state.params) > 1e-3
    assert largest_difference(runs[0].state.params, runs[2].state.params) > 1e-3


@pytest.fixture
def _as_accelerators_do(monkeypatch):
    """Members are computed at once, on the host devices of these tests."""
    program._compiled.cache_clear()
    monkeypatch.setattr(program, "_in_turn", lambda epoch, _: program._at_once(epoch))
    yield
    program._compiled.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("_as_accelerators_do")
@pytest.mark.parametrize("variant", ["denoising", "vae", "conv", "dictionary"])
def test_members_that_are_computed_at_once_are_the_runs_that_they_would_be_alone(variant, tmp_path):
    """Products of several models round in another order than one's: 1e-6 is ten units in the last place of a weight
    near 1, and a seed or rate of another member moves weights by 1e-3 and more.
    """
    settings = experiment(variant)
    found = sweep(settings, GRID, DATA, run_dir=tmp_path / "sweep")
    run, single = found.load(3), alone(settings, RATES[1], SEEDS[1])
    assert largest_difference(run.state.params, single.state.params) <= 1e-6
    assert largest_difference(run.state.model, single.state.model) <= 1e-5
    assert run.summary["test"]["mse"] == pytest.approx(single.summary["test"]["mse"], rel=1e-5)
    assert largest_difference(run.state.params, found.load(0).state.params) > 1e-3


@pytest.mark.slow
def test_exact_members_are_the_runs_that_they_would_be_alone(tmp_path):
    """A batch in eight parts, each computed by itself: a sum too many would show eightfold."""
    settings = experiment("vanilla")
    settings = replace(settings, train=replace(settings.train, exact=True))
    found = sweep(settings, GRID, DATA, run_dir=tmp_path / "sweep")
    single = alone(settings, RATES[1], SEEDS[1])
    assert repr(found) == f"Sweep({str(found.path)!r}, 4 members, best {found.best} by bce)"
    assert largest_difference(found.load(3).state.params, single.state.params) == 0
    assert found.load(3).summary["test"] == single.summary["test"]


@pytest.mark.slow
def test_numbers_share_a_program_and_structures_do_not(tmp_path):
    settings = experiment("vae")
    grid = axes({"model.latent_dim": [2, 3], "model.penalties.kl.beta": [0.5, 1.0]}, settings)
    found = sweep(settings, grid, DATA, run_dir=tmp_path / "sweep")
    assert [group["members"] for group in found.groups] == [[0, 1], [2, 3]]
    assert [member["settings"]["model.latent_dim"] for member in found.members] == [2, 2, 3, 3]
    assert found.load(3).encode(DATA[:2]).shape == (2, 3)


def test_groups_are_told_before_anything_is_trained(tmp_path):
    told = []

    def plan(groups):
        told.extend(groups)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(experiment("vanilla"), GRID, DATA, run_dir=tmp_path / "sweep", plan=plan)
    (group,) = told
    assert len(group.members) == 4
    assert group.parameters == 9 * 7 * 4 * 2 + 4 + 9 * 7
    assert not (tmp_path / "sweep" / "members").exists()


@pytest.mark.slow
def test_a_member_that_diverges_touches_no_other(tmp_path):
    settings = experiment("vanilla")
    settings = replace(settings, train=replace(settings.train, max_nonfinite=2))
    wild = {"optimizer.learning_rate": [1e-3, 1e38, 3e-3]}
    tame = {"optimizer.learning_rate": [1e-3, 2e-3, 3e-3]}  # the same program
    found = sweep(settings, wild, DATA, run_dir=tmp_path / "wild")
    other = sweep(settings, tame, DATA, run_dir=tmp_path / "tame")
    assert [member["status"] for member in found.members] == ["done", "diverged", "done"]
    assert "training diverged" in found.members[1]["reason"]
    with pytest.warns(AeflaxWarning, match="member 1 diverged: training diverged"):
        found.load(1)
    for index in (0, 2):
        assert found.members[index]["state_sha256"] == other.members[index]["state_sha256"]


@pytest.mark.slow
def test_a_stopped_sweep_goes_on_as_if_it_had_not_been(tmp_path):
    settings = experiment("vae", steps=20)
    whole = sweep(settings, GRID, DATA, run_dir=tmp_path / "whole")
    asked = []

    def stop():
        asked.append(None)
        return len(asked) > 2

    with pytest.raises(StoppedError, match="--resume"):
        sweep(settings, GRID, DATA, run_dir=tmp_path / "parts", stop=stop)
    again = sweep(settings, GRID, DATA, run_dir=tmp_path / "parts", resume=True)
    digests = [[member["state_sha256"] for member in found.members] for found in (whole, again)]
    assert digests[0] == digests[1]
    logs = [(tmp_path / name / "members" / "0002" / "metrics.jsonl").read_text() for name in ("whole", "parts")]
    losses = [[json.loads(line).get("loss") for line in log.splitlines()] for log in logs]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_members_that_were_saved_apart_go_on_from_their_common_step(tmp_path):
    """A process killed between two members' saves leaves one ahead of the other."""
    settings = experiment("vanilla", steps=20)
    settings = replace(settings, train=replace(settings.train, checkpoint_every=8))
    whole = sweep(settings, GRID, DATA, run_dir=tmp_path / "sweep")
    ahead = tmp_path / "sweep" / "members"
    for name in ("0001", "0003"):
        with Checkpoints(ahead / name / "checkpoints") as checkpoints:
            steps = checkpoints.steps()

        shutil.rmtree(ahead / name / "checkpoints" / str(steps[-1]))
    for member in ahead.iterdir():
        (member / "summary.json").unlink()
    again = sweep(settings, GRID, DATA, run_dir=tmp_path / "sweep", resume=True)
    assert [member["state_sha256"] for member in again.members] == [member["state_sha256"] for member in whole.members]


SEED_GRID = ("--grid", "train.seed=0..2")
HALVED = ("--grid", "optimizer.learning-rate=1e-4,1e-3,3e-3", "--data.validation", "100", "--halving")


def decided(path):
    return len((read_json(path / SWEEP) or {}).get("rungs", []))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("grid", "moment"),
    [
        (SEED_GRID, lambda path: any(path.glob("members/0002/checkpoints/[0-9]*"))),
        (HALVED, lambda path: decided(path) == 1),
    ],
    ids=["plain", "after-a-rung"],
)
def test_a_killed_sweep_loses_nothing(grid, moment, tmp_path):
    words = [sys.executable, "-m", "aeflax", "sweep", "vanilla", *grid, "--json", "--train.steps", "1200"]
    words += ["--train.checkpoint-every", "60", "--train.eval-every", "600"]
    first = tmp_path / "killed"
    process = subprocess.Popen([*words, "--run-dir", str(first)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 120
    while not moment(first) and process.poll() is None:
        assert time.monotonic() < limit
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(first.glob("members/*/summary.json"))
    told = []
    for extra in (["--run-dir", str(first), "--resume"], ["--run-dir", str(tmp_path / "whole")]):
        done = subprocess.run([*words, *extra], capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        kept = [(member["status"], member.get("step"), member.get("state_sha256")) for member in found["members"]]
        told.append((kept, read_json(Path(extra[1]) / SWEEP)["rungs"]))
    assert told[0] == told[1]


@pytest.mark.slow
def test_a_finished_sweep_is_told_again_without_training(tmp_path):
    settings = experiment("vanilla")
    first = sweep(settings, {"train.seed": [1, 2]}, DATA, run_dir=tmp_path / "sweep")
    trained = []
    again = sweep(
        settings, {"train.seed": [1, 2]}, DATA, run_dir=tmp_path / "sweep", resume=True, callbacks=(trained.append,)
    )
    assert again.members == first.members
    assert not trained


@pytest.mark.slow
def test_members_are_ordinary_runs(tmp_path, run):
    (code, output, errors) = run(
        *("sweep", "vanilla", "--grid", "train.seed=0,1", "--train.steps", 9, "--run-dir", tmp_path / "s", "--json")
    )
    assert code == 0, errors
    found = json.loads(output.splitlines()[-1])
    assert [member["settings"] for member in found["members"]] == [{"train.seed": 0}, {"train.seed": 1}]
    assert found["groups"][0]["members"] == [0, 1]
    member = tmp_path / "s" / "members" / "0001"
    assert run("evaluate", member)[0] == 0
    assert run("verify", member)[0] == 0
    assert run("train", "vanilla", "--run-dir", member, "--resume", "--train.seed", 1, "--train.steps", 12)[0] == 0
    assert any(member.glob("events.out.tfevents.*"))
    assert json.loads((tmp_path / "s" / SWEEP).read_text())["members"] == found["members"]
    again = ("sweep", "--run-dir", tmp_path / "s", "--resume")
    assert run(*again)[0] == 0  # what the sweep found stands
    assert json.loads((tmp_path / "s" / SWEEP).read_text())["members"] == found["members"]
    (member / "summary.json").unlink()
    code, _, errors = run(*again)
    assert code == 2
    assert "members/0001 is not as the sweep left it (train.steps: 12 -> 9" in errors
    shutil.rmtree(member)
    assert run(*again)[0] == 0
    anew = json.loads((tmp_path / "s" / SWEEP).read_text())["members"]
    assert [one["state_sha256"] for one in anew] == [one["state_sha256"] for one in found["members"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "a sweep needs a grid, e.g. --grid"),
        (("--grid", "train.seed=0,1", "--resume"), "--resume needs --run-dir"),
        (("--grid", "train.seed=0,1", "--train.placement", "pmap"), "train.placement=pmap shares each batch out"),
        (("--grid", "train.seed=0,1", "--data.validation", "60", "--train.patience", "2"), "train.patience ends runs"),
        (("--grid", "train.seed=0,1", "--data.resident", "False"), "data.resident=False streams the data"),
        (("--grid", "model.corruption=none,gauss"), "has no kind 'gauss'; choose none, gaussian"),
    ],
)
def test_what_a_sweep_cannot_do_is_a_sentence(run, words, said):
    code, _, errors = run("sweep", "vanilla", *words)
    assert code == 2
    assert said in errors
    assert errors.count("\n") == 1


@pytest.mark.slow
def test_a_sweep_goes_on_without_its_command(run, tmp_path):
    """Preset, grid of kinds, halving and settings are taken from the sweep; what is said besides must be the same."""
    path = tmp_path / "s"
    grid = ("--grid", "model.corruption=none,masking", "--grid", "train.seed=0..1", "--train.steps", 8, "--halving")
    words = ("sweep", "denoising", *grid, "--data.validation", 60, "--run-dir", path, "--no-report")
    code, _, errors = run(*words)
    assert code == 0, errors
    assert "program 1: 2 models" in errors
    assert [line.rpartition(", ")[2] for line in errors.splitlines() if line.startswith("  program")] == [
        "corruption=none",
        "corruption=masking",
    ]
    first = json.loads((path / SWEEP).read_text())
    assert first["preset"] == "denoising"
    shutil.rmtree(path / "members")
    (path / SWEEP).write_text(
        json.dumps({key: first[key] for key in ("experiment", "grid", "halving", "data", "preset")})
    )
    code, _, errors = run("sweep", "--resume", f"--run-dir={path}", "--no-report")
    assert code == 0, errors
    again = json.loads((path / SWEEP).read_text())
    told = ("settings", "status", "step", "state_sha256")
    assert [[m.get(k) for k in told] for m in again["members"]] == [[m.get(k) for k in told] for m in first["members"]]
    assert json.loads((path / "members/0000/experiment.json").read_text())["preset"] == "denoising"
    assert run(*words, "--resume")[0] == 0  # the whole command may be said again
    code, _, errors = run("sweep", "--resume", "--run-dir", path, "--train.steps", 9)
    assert (code, "train.steps: 8 -> 9" in errors) == (2, True)
    code, _, errors = run("sweep", "--resume", "--run-dir", tmp_path / "typo")
    assert (code, errors.count("\n"), "typo holds no sweep (sweep.json is missing)" in errors) == (2, 1, True)
    write_json(path / SWEEP, {name: first[name] for name in ("experiment", "data")} | {"halving": "yes", "grid": None})
    code, _, errors = run("sweep", "--resume", "--run-dir", path)
    assert (code, "sweep.json has no sound grid, halving; the sweep is damaged" in errors) == (2, True), errors


@pytest.mark.slow
def test_a_sweep_of_which_all_diverge_is_exit_3(run, tmp_path):
    words = ("--grid", "optimizer.learning-rate=1e37,1e38", "--train.steps", 30, "--run-dir", tmp_path / "s")
    code, _, errors = run("sweep", "vanilla", *words, "--no-report")
    assert code == 3
    assert "all 2 models diverged; of the first: " in errors


@pytest.mark.slow
def test_a_directory_of_something_else_stays(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match="holds something else than a sweep"):
        sweep(experiment("vanilla"), GRID, DATA, run_dir=tmp_path)
    sweep(experiment("vanilla"), {"train.seed": [1]}, DATA, run_dir=tmp_path / "s")
    with pytest.raises(ConfigError, match="go on with --resume, or replace it with --overwrite"):
        sweep(experiment("vanilla"), {"train.seed": [1]}, DATA, run_dir=tmp_path / "s")
    with pytest.raises(ConfigError, match=r"another sweep \(grid: "):
        sweep(experiment("vanilla"), {"train.seed": [2]}, DATA, run_dir=tmp_path / "s", resume=True)
    again = sweep(experiment("vanilla"), {"train.seed": [2]}, DATA, run_dir=tmp_path / "s", overwrite=True)
    assert [member["settings"] for member in again.members] == [{"train.seed": 2}]


@pytest.mark.slow
def test_kinds_vary_and_are_ranked_by_what_all_of_them_have(tmp_path):
    settings = experiment("denoising")
    noisy = settings.model.corruption
    grid = {"model.corruption": ["none", noisy.kind, "masking"], "model.penalties.l1": ["none", "on"]}
    found = sweep(settings, grid, DATA, run_dir=tmp_path / "sweep")
    assert len(found.groups) == 6
    assert found.metric == "bce"  # nothing was restored where nothing was corrupted
    assert aeflax.load_sweep(tmp_path / "sweep").metric == "bce"
    kept = found.load(2)
    assert kept.experiment.model.corruption == noisy  # with the numbers that it was given
    assert kept.experiment.model.penalties.l1 is None
    one = replace(settings.model.penalties, l1=config.L1())
    masked = replace(settings, model=replace(settings.model, corruption=config.Masking(), penalties=one))
    assert found.load(5).experiment.model.corruption == config.Masking()
    assert found.members[5]["settings"] == {"model.corruption": "masking", "model.penalties.l1": "on"}
    reference = aeflax.train(masked, DATA, report=False)
    assert found.members[5]["test"]["bce"] == pytest.approx(reference.evaluate("test")["bce"], rel=1e-5)  # as the bits


@pytest.mark.slow
def test_k_varies_within_a_program(tmp_path):
    settings = experiment("top-k")
    found = sweep(settings, {"model.bottleneck.k": [1, 3, 6]}, DATA, run_dir=tmp_path / "sweep")
    assert [group["members"] for group in found.groups] == [[0, 1, 2]]
    for index, k in enumerate((1, 3, 6)):
        assert (found.load(index).encode(DATA) > 0).sum(axis=1).max() <= k
        assert found.members[index]["state_sha256"] != found.members[index - 1]["state_sha256"]


@pytest.mark.slow
def test_members_of_one_structure_are_one_group():
    settings = experiment("sparse")
    dataset = aeflax.api.load_data(settings.data, DATA)
    grid = axes({"model.penalties.l1.weight": [0.1, 0.2], "train.seed": [0, 1]}, settings)
    assert [len(group.members) for group in grouped(members(settings, grid), dataset)] == [4]


@pytest.mark.slow
def test_a_member_of_a_sweep_of_an_array_has_its_data(tmp_path):
    """In the process that trained it by itself, in another one where they are given again."""
    found = aeflax.sweep(experiment("vanilla", steps=2), {"train.seed": [0, 1]}, DATA, run_dir=tmp_path, report=False)
    expected = found.load(1).evaluate()
    assert aeflax.load_sweep(tmp_path).load(1, DATA).evaluate() == expected
    with pytest.raises(DataError, match="was trained on an array from Python; pass it"):
        aeflax.load_sweep(tmp_path).load(1).evaluate()
