"""What a shell is told at a tab."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aeflax import cli
from aeflax.presets import PRESETS

ROOT = Path(__file__).parent.parent


@pytest.fixture
def complete(monkeypatch, capsys):
    monkeypatch.setenv("AEFLAX_COMPLETE", "1")

    def ask(*words):
        assert cli.main(list(words)) == 0
        told = capsys.readouterr()
        assert not told.err
        return told.out.split()

    return ask


def test_commands_and_presets_by_how_they_begin(complete):
    assert complete("") == [*cli.COMMANDS, "--help", "--version"]
    assert complete("tr") == ["train", "traverse", "trust"]
    assert complete("train", "") == list(PRESETS)
    assert complete("sweep", "v") == ["vanilla", "vae"]


def test_every_command_tells_its_options(complete):
    for name in cli.COMMANDS:
        found = complete(name, "--")
        assert "--help" in found
        assert len(found) == len(set(found))
    assert "--split" in complete("evaluate", "runs/x", "--")


def test_options_are_those_of_the_preset_and_of_parts_that_may_be_chosen(complete):
    assert "--model.backbone.down" in complete("train", "conv", "--model.back")
    assert "--model.bottleneck.k" in complete("train", "--model.bottleneck.")
    assert "--train.epochs" in complete("bench", "--tr")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("train", "--model.corruption", ""), ["none", "gaussian", "masking", "salt-pepper"]),
        (("train", "--model.penalties.kl", "o"), ["on"]),
        (("train", "conv", "--model.backbone.down", ""), ["stride", "max-pool"]),
        (("train", "--data.grey", ""), ["True", "False"]),
        (("evaluate", "x", "--split", "t"), ["train", "test"]),
        (("train", "--run-dir", ""), []),  # a file: the shell's own
        (("evaluate", ""), []),
        (("train", "no-preset", "--"), []),
        (("no-command", "--"), []),
    ],
)
def test_values_that_are_few_are_told(complete, words, found):
    assert complete(*words) == found


def test_the_script_of_bash_asks_and_answers(tmp_path):
    (tmp_path / "aeflax").write_text(f'#!/bin/sh\nexec {sys.executable} -m aeflax "$@"\n')
    (tmp_path / "aeflax").chmod(0o755)
    script = (
        'eval "$(aeflax completion bash)"; COMP_WORDS=(aeflax train conv --model.backbone.up ""); COMP_CWORD=4; '
        '_aeflax aeflax; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run(
        [shutil.which("bash"), "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["sub-pixel", "transposed"]
