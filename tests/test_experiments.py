"""Records of experiments."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from variants import experiment

import aeflax
from aeflax.config import Data, Train
from aeflax.errors import StoppedError
from experiments.runs import measured

FOLDER = Path(__file__).parent.parent / "experiments"
FILES = sorted(path for path in FOLDER.glob("*.py") if "\nCONFIG = " in path.read_text(encoding="utf-8"))
CONFIG = replace(experiment("vanilla"), data=Data(limit=64), train=Train(steps=40))


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """Reports have tests of their own, and take longer than these runs."""
    monkeypatch.setattr("aeflax.trained.Run.report", lambda run: None)


@pytest.mark.slow
def test_a_finished_run_is_measured_anew(tmp_path):
    """Or the record of today's code would hold an older one's figures."""
    _, first = measured(CONFIG, tmp_path / "run", "vanilla")
    path = tmp_path / "run" / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"images_per_second": -1.0}))
    run, again = measured(CONFIG, tmp_path / "run", "vanilla")
    assert again["images_per_second"] > 0
    assert again["state_sha256"] == first["state_sha256"]
    assert run.step == 40


@pytest.mark.slow
def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    polls = iter(range(2))
    with pytest.raises(StoppedError):
        aeflax.train(CONFIG, run_dir=tmp_path / "run", stop=lambda: next(polls, None) is None)
    begun = []
    train = aeflax.train
    monkeypatch.setattr("aeflax.train", lambda *args, **keys: train(*args, **keys, callbacks=[begun.append]))
    measured(CONFIG, tmp_path / "run", "vanilla")
    assert begun[0].step > 0


@pytest.mark.slow
def test_the_command_line_reads_every_experiment_file_wherever_it_is_called(tmp_path):
    # A process each, as of commands of their own, which share what was imported before.
    code = (
        "import os, sys; from aeflax.cli.naming import named_experiment\n"
        "for path in sys.argv[1:]:\n"
        "    if not (child := os.fork()): named_experiment('train', [path]); os._exit(0)\n"
        "    if os.waitpid(child, 0)[1] == 0: print(path)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *map(str, FILES)], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, [*map(str, FILES)]), done.stderr
