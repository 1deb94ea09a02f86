"""The code and the commands of the documentation run, in their order; what has tests of its own is left to them.

README's are run by tests/test_readme.py, those of docs/export.md by tests/export. Commands of other pages take an hour,
several hosts or files that a reader has: they are parsed and go no further.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import aeflax
from aeflax import cli
from aeflax.cli import parsing
from aeflax.config import Data, GaussianLikelihood, Train

DOCS = Path(__file__).parent.parent / "docs"
COMMAND = re.compile(rf"(?:^|\s|')(aeflax (?:{'|'.join(cli.COMMANDS)})\b[^'&;]*)")
pytestmark = pytest.mark.slow


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)


def done(words, folder):
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    found = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, f"{words}\n{found.stderr[-2000:]}"
    return found.stdout


@pytest.mark.parametrize("page", ["index.md", "start.md", "extending.md"])
def test_every_command_runs(page, tmp_path):
    files = ("own.py", "above.py", "contractive.py") if page == "extending.md" else ()
    for name, code in zip(files, blocks(page, "python") if files else (), strict=True):
        (tmp_path / name).write_text(code)
    lines = [line for block in blocks(page, "bash") for line in block.splitlines() if line.startswith("aeflax ")]
    assert len(lines) >= 2
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        more = ["--train.steps", "20", "--no-report"] if words[0] in ("train", "sweep") else []
        done(["-m", "aeflax", *words, *more], tmp_path)


class ParsedError(Exception):
    """All options of a command are right."""


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_every_command_has_the_options_that_are_shown(page, tmp_path, monkeypatch):
    read = parsing.tyro.cli

    def parsed(*words, **options):
        found = read(*words, **options)
        if options["console_outputs"]:  # else something is wrong already
            raise ParsedError
        return found

    monkeypatch.setattr(parsing.tyro, "cli", parsed)
    monkeypatch.chdir(tmp_path)
    for name in ("own.py", "above.py", "contractive.py"):
        (tmp_path / name).write_text("import aeflax; CONFIG = aeflax.presets.vanilla()")
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            found = COMMAND.search(line.partition(" #")[0])
            if found is None or any(own in line for own in ("energy", "bottleneck.threshold", "contraction")):
                continue  # of own parts, whose commands are run
            words = shlex.split(found[1].replace("$i", "0").replace("...", "x"))[1:]
            with pytest.raises(ParsedError):
                cli._dispatch(words)


@pytest.mark.parametrize(
    ("page", "said"),
    [("start.md", "(500, 4) True"), ("coming-from.md", "(300, 4) (300, 4)")],
)
def test_every_example_runs(page, said, tmp_path):
    (code,) = blocks(page, "python")
    assert done(["-c", code], tmp_path).strip() == said


def test_every_example_of_applications_runs_with_a_run_and_examples_at_hand(tmp_path, monkeypatch):
    rows = np.random.RandomState(0).normal(size=(80, 4)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    monkeypatch.chdir(tmp_path)
    base = aeflax.presets.vanilla(2)
    model = replace(base.model, likelihood=GaussianLikelihood())
    few = replace(base, model=model, data=Data(source="npy:rows.npy"), train=Train(steps=20))
    given = {"run": aeflax.train(few, run_dir="RUN", report=False), "images": rows, "aeflax": aeflax}
    aeflax.sweep(few, {"train.seed": range(2)}, run_dir="SWEEP", report=False)
    given |= {"examples": np.concatenate([rows, rows[:5] + 20]), "labels": np.arange(85) >= 80}
    for code in blocks("applications.md", "python"):
        exec(compile(code, "applications.md", "exec"), given)
    assert given["run"].step == 20


def test_the_tfds_set_of_ones_own_is_written_and_trained_on(tmp_path, monkeypatch):
    code = next(block for block in blocks("data.md", "python") if "GeneratorBasedBuilder" in block)
    (tmp_path / "faces.py").write_text(code)
    done(["faces.py"], tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    words = ("--data.source", "tfds:faces", "--train.steps", "5", "--run-dir", "run", "--no-report")
    done(["-m", "aeflax", "train", "vanilla", *words], tmp_path)
    inputs = json.loads((tmp_path / "run" / "experiment.json").read_text())["inputs"]
    assert inputs["shape"] == [16, 16, 1]


def test_every_page_is_in_the_navigation():
    navigation = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (*DOCS.glob("*.md"), DOCS / "adr" / "index.md"):
        assert f"- {page.relative_to(DOCS)}" in navigation, page
    told = (DOCS / "adr" / "index.md").read_text(encoding="utf-8")
    assert all(f"({page.name})" in told for page in DOCS.glob("adr/0*.md"))


def test_a_table_is_trained_on_from_python(tmp_path):
    code = next(block for block in blocks("data.md", "python") if "readings.csv" in block)
    rows = np.random.RandomState(0).normal(size=(60, 12)).round(3)
    lines = [",".join([f"r{i}", *map(str, row)]) for i, row in enumerate(rows)]
    (tmp_path / "readings.csv").write_text(
        "\n".join(["id," + ",".join("abcdefghijkl"), *lines, "r60" + "," * 12]) + "\n"
    )
    done(["-c", code], tmp_path)
    settings = json.loads((tmp_path / "runs" / "readings" / "experiment.json").read_text())["resolved"]
    words = ("readings.csv --data.drop id --data.impute median --data.scale standard", "--model.latent-dim 4")
    told = shlex.split(f"train vanilla --data.source csv:{' '.join(words)} --model.likelihood gaussian")
    done(["-m", "aeflax", *told, "--run-dir", "cli", "--no-report"], tmp_path)
    assert json.loads((tmp_path / "cli" / "experiment.json").read_text())["resolved"] == settings
