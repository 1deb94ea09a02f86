"""README's own commands and code run, in its order, in one fresh folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    line.split("  #")[0].strip()
    for language, block in BLOCKS
    if language == "bash"
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("aeflax ")
]
EXAMPLES = [block for language, block in BLOCKS if language == "python"]
pytestmark = pytest.mark.slow


def environment():
    found = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS",)}
    return found | {"PYTHONPATH": str(ROOT)}


def test_every_command_of_the_readme_runs(tmp_path):
    """MNIST commands need AEFLAX_DATA_DIR, and take 50 steps of 2,000 images; convolutions take 100, sweeps 200.

    The first command and the sweeps draw their reports.
    """
    assert len(COMMANDS) >= 8
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        if "mnist" in command or "classic_keras" in command:
            if "AEFLAX_DATA_DIR" not in os.environ:
                continue
            words = [w for w in words if w not in ("--train.epochs", "20")] + [
                "--train.steps",
                "50",
                "--data.limit",
                "2000",
            ]
            if "classic_keras" in command:
                words += ["--train.epochs", "None"]
        elif words[0] == "train" and "conv" in words:
            words += ["--train.steps", "100"]
        if words[0] == "train" and len(words) > 1 and "--help" not in words:
            words.append("--no-report")
        if words[0] == "sweep":
            words += ["--train.steps", "200"]
        done = subprocess.run(
            [sys.executable, "-m", "aeflax", *words],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    assert (tmp_path / "runs" / "vanilla-digits-1" / "summary.json").exists()


def output(example, folder):
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return map(float, done.stdout.split())


def test_the_python_example_of_the_readme_runs(tmp_path):
    elbo, mse, loss = output(EXAMPLES[0], tmp_path)
    assert elbo < 0 < mse < loss
    assert (tmp_path / "runs" / "python" / "summary.json").exists()


def test_the_scikit_learn_example_of_the_readme_runs(tmp_path):
    clusters, odd = output(EXAMPLES[1], tmp_path)
    assert 8 <= clusters <= 30  # of ten digits
    assert abs(odd - 0.05) < 0.001


def test_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make (\w+)", README)):
        if target not in ("and",):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
