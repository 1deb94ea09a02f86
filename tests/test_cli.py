"""The installed command, as a user runs it: results, exit codes, signals."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"PYTHONPATH": str(ROOT)}
pytestmark = pytest.mark.slow


def aeflax(*words, cwd, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "aeflax", *map(str, words)],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert code == 1 or "Traceback" not in done.stderr
    return done


def test_the_main_job_beats_pca_and_evaluate_agrees(tmp_path):
    trained = aeflax("train", "--run-dir", "runs/demo", "--overwrite", "--json", cwd=tmp_path)
    (last,) = trained.stdout.splitlines()
    summary = json.loads(last)
    assert summary["status"] == "done"
    assert summary["step"] == 4000
    # .0091 and .0113 measured; a dead unit of 16 costs about .001
    assert summary["test"]["mse"] < 0.0100 < summary["pca"]["test"]["mse"]
    assert "training on 1 × cpu (jit)" in trained.stderr
    assert "runs/demo" in trained.stderr
    assert "PCA(16)" in trained.stderr  # with --json, standard output is the summary alone
    assert (tmp_path / "runs" / "demo" / "report.html").stat().st_size > 10_000
    assert trained.stderr.rstrip().endswith("report: runs/demo/report.html")

    evaluated = json.loads(aeflax("evaluate", "runs/demo", "--json", cwd=tmp_path).stdout.splitlines()[-1])
    assert evaluated == {"status": "done", "split": "test", "step": 4000, **summary["test"], "warnings": []}

    refused = aeflax("train", "--run-dir", "runs/demo", cwd=tmp_path, code=2)
    assert "--resume" in refused.stderr
    assert "--overwrite" in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_everything_and_resume_ends_bit_identical(number, tmp_path):
    words = ["train", "denoising", "--train.steps", "8000", "--train.checkpoint-every", "8000", "--json"]
    # Where the tests run in the background of a shell, SIGINT is ignored, and whoever they start inherits that.
    heard = (
        "import signal, runpy, sys; signal.signal(signal.SIGINT, signal.default_int_handler); sys.argv[0] = 'aeflax'; "
    )
    process = subprocess.Popen(
        [sys.executable, "-c", heard + "runpy.run_module('aeflax', run_name='__main__')", *words, "--run-dir", "run"],
        cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    log = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert "--resume" in errors
    told = json.loads(said)
    assert (told["status"], told["exit_code"], told["run_dir"]) == ("stopped", 75, "run")
    assert f"stopped at step {told['step']} of 8000" in told["error"]
    assert errors.endswith(f"aeflax: {told['error']}\n")
    resumed = json.loads(aeflax(*words, "--run-dir", "run", "--resume", cwd=tmp_path).stdout.splitlines()[-1])
    whole = json.loads(aeflax(*words, "--run-dir", "whole", cwd=tmp_path).stdout.splitlines()[-1])
    assert resumed["state_sha256"] == whole["state_sha256"]
    assert (resumed["status"], resumed["resumed_from"], whole["resumed_from"]) == ("done", told["step"], None)


def test_unfit_data_is_exit_5_and_leaves_nothing(tmp_path):
    array = np.random.RandomState(0).rand(20, 4)
    array[7, 2] = np.nan
    np.save(tmp_path / "bad.npy", array)
    done = aeflax("train", "--data.source", "npy:bad.npy", "--run-dir", "run", cwd=tmp_path, code=5)
    assert "[7, 2]" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "run" / "experiment.json").exists()


CUDA = any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))


@pytest.mark.skipif(CUDA, reason="a platform that is there")
@pytest.mark.parametrize(("name", "why"), [("cuda", "no such platform is installed"), ("nope", "Unable to initialize")])
def test_a_platform_that_is_not_there_is_a_sentence(name, why, tmp_path):
    """JAX raises an assertion without words for the first, which it knows, and an error for the second."""
    environment = ENVIRONMENT | {"JAX_PLATFORMS": name}
    words = [sys.executable, "-m", "aeflax", "train", "--train.steps", "5", "--run-dir", "run"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"aeflax: JAX finds no device for JAX_PLATFORMS={name} ({why}")
    assert done.stderr.endswith("; unset it, or see aeflax doctor\n")
    assert not (tmp_path / "run").exists()


def test_divergence_is_exit_3(tmp_path):
    words = ["--optimizer.name", "sgd", "--optimizer.learning-rate", "1e30", "--train.steps", "200"]
    done = aeflax("train", *words, "--run-dir", "run", cwd=tmp_path, code=3)
    assert "optimizer.learning_rate" in done.stderr


def test_a_damaged_checkpoint_is_exit_4(tmp_path):
    aeflax("train", "--train.steps", "20", "--run-dir", "run", cwd=tmp_path)
    for file in (tmp_path / "run" / "checkpoints").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    done = aeflax("evaluate", "run", cwd=tmp_path, code=4)
    assert "checkpoints" in done.stderr


def test_a_run_in_use_is_exit_6_and_goes_on(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", "import time; from pathlib import Path; from aeflax.rundir.claim import claim\n"
         "run = claim(Path('run'), resume=False, overwrite=False); print('held', flush=True); time.sleep(60)"],
        cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout.readline() == "held\n"
        done = aeflax("train", "--run-dir", "run", cwd=tmp_path, code=6)
        assert f"process {holder.pid}" in done.stderr
    finally:
        holder.kill()
        holder.communicate()


def test_vectors_from_a_table_train_and_conv_on_them_is_exit_2(tmp_path):
    rows = np.random.RandomState(0).rand(50, 6)
    np.savetxt(tmp_path / "table.csv", rows, delimiter=",", header="a,b,c,d,e,f", comments="")
    words = ["--data.source", "csv:table.csv", "--train.steps", "30"]
    aeflax("train", "vae", *words, cwd=tmp_path)
    assert (tmp_path / "runs" / "vae-csv-table-1" / "summary.json").exists()
    done = aeflax("train", "conv", *words, cwd=tmp_path, code=2)
    assert "--model.backbone dense" in done.stderr


def test_switches_of_the_model_take_a_value_as_every_field_does(tmp_path):
    words = ["--data.scale", "standard", "--model.likelihood", "gaussian", "--train.steps", "5", "--run-dir", "run"]
    refused = aeflax("train", "denoising", *words, cwd=tmp_path, code=2)
    assert "--model.corruption.clip False" in refused.stderr
    aeflax("train", "denoising", *words, "--model.corruption.clip", "False", cwd=tmp_path)
    stored = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert stored["experiment"]["model"]["corruption"]["clip"] is False


def test_output_closed_early_is_no_error(tmp_path):
    command = f"{sys.executable} -m aeflax train --train.steps 20 --json | true"
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
