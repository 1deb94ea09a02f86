"""What the command line answers before anything is trained: help and usage errors."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aeflax.cli import answer, main
from aeflax.cli.stopping import Stop
from aeflax.config import Corruption
from aeflax.errors import SIGNALS, warn
from aeflax.presets import PRESETS
from aeflax.storage import seal

HEAVY = ("jax", "jaxlib", "flax", "optax", "orbax", "chex", "numpy", "sklearn", "tensorflow")


@pytest.fixture
def aeflax(capsys, monkeypatch, tmp_path):
    """Runs a command in an empty directory: (arguments) -> (exit code, output, errors in one line)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, re.sub(r"[\s│╭╮╰╯─]+", " ", captured.err)

    return run


@pytest.fixture
def refused(aeflax):
    """The sentence with which a command exits 2, having written nothing."""

    def run(*arguments):
        before = sorted(os.listdir())
        code, out, err = aeflax(*arguments)
        assert (code, out) == (2, "")
        assert sorted(os.listdir()) == before
        assert "Traceback" not in err
        assert "please report" not in err
        return err

    return run


def test_help_names_every_command_preset_and_exit_code(aeflax):
    for word in ("--help", "-h", "help"):
        code, out, err = aeflax(word)
        assert (code, err) == (0, "")
        for expected in ("train", "evaluate", *PRESETS, "Exit codes: 0 done, 1", "75"):
            assert expected in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("evaluate", "nowhere", "--json"), 2, "nowhere holds no run"),
        (("train", "--data.source", "csv:nowhere.csv", "--json"), 5, "cannot read nowhere.csv"),
        (("verify", "nowhere", "--json"), 2, "nowhere"),
        (("evaluate", "--json"), 2, "RUN is missing"),
    ],
)
def test_a_command_that_fails_is_one_json_object_too(aeflax, words, code, said):
    found, out, _ = aeflax(*words)
    told = json.loads(out)
    assert (found, told["exit_code"], told["status"]) == (code, code, "failed")
    assert said in told["error"]
    assert aeflax(*words[:-1])[1] == ""


def test_no_command_prints_the_help_as_an_error(refused):
    assert "usage: aeflax COMMAND" in refused()


def test_version(aeflax):
    import aeflax as package

    code, out, errors = aeflax("--version")
    assert (code, errors) == (0, "")
    assert out.splitlines()[0] == f"aeflax {package.__version__}"


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["", *PRESETS])
def test_train_help_shows_the_defaults_of_the_preset(aeflax, preset):
    code, out, err = aeflax("train", *filter(None, [preset]), "--help")
    assert (code, err) == (0, "")
    assert f"usage: aeflax train {preset or '[PRESET|FILE.py]'}" in out
    assert ("--model.penalties.kl.beta FLOAT" in out) == (preset == "vae")
    assert ("--model.corruption.sigma FLOAT" in out) == (preset == "denoising")
    assert ("--model.backbone.kernel INT" in out) == (preset == "conv")
    assert "{none,gaussian,masking,salt-pepper}" in out


def test_help_shows_the_fields_of_the_kinds_chosen_so_far(aeflax):
    _, out, _ = aeflax("train", "--model.bottleneck", "top-k", "--help")
    assert "--model.bottleneck.k INT" in out
    assert "(default: top-k)" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    "kinds",
    [
        [],
        ["--model.penalties.l1", "on", "--model.penalties.rate", "on", "--model.bottleneck", "sparse"],
        ["--model.penalties.kl", "on", "--model.bottleneck", "posterior", "--model.backbone", "conv"],
        ["--model.corruption", "masking", "--model.bottleneck", "top-k", "--model.likelihood", "gaussian"],
        ["--model.corruption", "gaussian"],
        ["--model.corruption", "salt-pepper"],
    ],
)
def test_every_option_says_what_it_is(aeflax, kinds):
    _, out, _ = aeflax("train", *kinds, "--help")
    assert "--train.seed INT" in out
    # Each option has a line of its own, and its help starts on the next.
    bare = re.findall(r"^[ │]*(--\S+)[^\n]*\n[ │]*\(default", out, re.MULTILINE)
    assert bare == []


def test_evaluate_help(aeflax):
    code, out, err = aeflax("evaluate", "--help")
    assert (code, err) == (0, "")
    assert "--split {train,validation,test,all}" in out


@pytest.mark.parametrize(("command", "picture"), [("encode", False), ("reconstruct", True), ("sample", True)])
def test_only_commands_that_draw_pictures_offer_them(aeflax, command, picture):
    said = re.sub(r"[\s│]+", " ", "".join(aeflax(command, "--help")[1:]))
    assert "a .npy, .npz, .csv or .parquet file" in said
    assert (".png for a picture of the first 100 images" in said) == picture


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown command 'trian'; did you mean train? (see aeflax --help)"),
        (["zzz"], "unknown command 'zzz' (see aeflax --help)"),
        (["train", "vea"], "unknown preset 'vea'; did you mean vae?"),
        (["train", "VAE"], "unknown preset 'VAE'; did you mean vae?"),
        (
            ["train", "mnist"],
            "unknown preset 'mnist'; it is a source of data: add --data.source mnist to vanilla, sparse",
        ),
        (["train", "npy:x.npy"], "it is a source of data: add --data.source npy:x.npy to vanilla, sparse"),
        (["train", "array"], "unknown preset 'array'; choose vanilla"),
        (["train", "zzz"], "unknown preset 'zzz'; choose vanilla, sparse, denoising, vae, conv, or a Python file"),
        (["train", ""], "unknown preset ''"),
        (["train", "vae", "extra"], "'extra' belongs to no option; leave it out"),
        (["train", "--optimizer.learning-rat", "3"], "did you mean --optimizer.learning-rate?"),
        (
            ["train", "--optimizer.lr", "0.1"],
            "unknown option --optimizer.lr; did you mean --optimizer.learning-rate?",
        ),
        (["bench", "vae", "--lr=0.1"], "unknown option --lr; did you mean --optimizer.learning-rate?"),
        (["train", "--epochs", "3"], "did you mean --train.epochs?"),
        (["train", "--resum"], "did you mean --resume?"),
        (["train", "--model.bottlneck", "sparse"], "did you mean --model.bottleneck?"),
        (["train", "--model.latent-din=3"], "did you mean --model.latent-dim?"),
        (["train", "--model.bottleneck", "topk"], "did you mean top-k?"),
        (["train", "--run-dir"], "--run-dir needs a value"),
        (["evaluate"], "RUN is missing; see --help"),
        (["encode", "--split", "test"], "RUN, IN and OUT are missing; see --help"),
        (
            ["evaluate", "x", "--split", "tset"],
            "--split='tset' must be train, validation, test or all; did you mean test?",
        ),
        (["evaluate", "x", "y"], "'y' belongs to no option; leave it out"),
    ],
)
def test_a_misspelt_word_exits_2_and_names_the_nearest(refused, arguments, message):
    assert message in refused(*arguments)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--optimizer.learning-rate", "fast", "--optimizer.learning-rate='fast' must be a number"),
        ("--data.batch-size", "1.5", "--data.batch-size='1.5' must be a whole number"),
        ("--data.scale", "std", "--data.scale='std' must be none, unit or standard"),
        ("--data.resident", "maybe", "--data.resident='maybe' must be True, False or None"),
        ("--model.backbone.widths", "x", "--model.backbone.widths='x' must be a whole number"),
        ("--train.seed", "-1", "train.seed=-1 lies outside [0, 4294967295]"),
        ("--optimizer.learning-rate", "nan", "optimizer.learning_rate=nan is not finite"),
        ("--optimizer.clip-norm", "inf", "optimizer.clip_norm=inf is not finite"),
        ("--data.batch-size", "0", "data.batch_size=0 lies outside [1, 16777216]"),
        ("--model.backbone.widths", "0", "model.backbone.widths=(0,) holds 0, which lies outside [1, 1048576]"),
    ],
)
def test_a_wrong_value_exits_2_and_names_the_option(refused, option, value, message):
    found = refused("train", option, value)
    assert message in found
    assert option[2:] in found.replace("_", "-")


def test_all_problems_are_listed_at_once(refused):
    found = refused(
        "train", "--data.batch-size", "0", "--train.seed", "-1", "--train.epochs", "1", "--train.steps", "1"
    )
    assert all(word in found for word in ("data.batch_size=0", "train.seed=-1", "train.epochs and train.steps"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train.epochs", "1", "--train.steps", "1"], "train.epochs and train.steps are both given; keep one"),
        (["--model.penalties.kl.beta", "4"], "model.penalties.kl needs a posterior; add --model.bottleneck posterior"),
        (["--data.scale", "standard"], "use --model.likelihood gaussian or --data.scale unit"),
        (["--model.bottleneck.k", "9", "--model.latent-dim", "8"], "model.bottleneck.k=9 exceeds model.latent_dim=8"),
        (["--model.corruption.rate", "0.1"], "belongs to masking and salt-pepper; add --model.corruption masking"),
        (["--init-from", "missing"], "missing holds no run (experiment.json is missing); check the path"),
        (
            ["--profile", "/dev/null/x"],
            "cannot write to the profile /dev/null/x: Not a directory; choose another place",
        ),
        (["--resume"], "--resume needs --run-dir, the run to go on with"),
        (["--resume", "--overwrite", "--run-dir", "x"], "--resume and --overwrite exclude each other; drop one"),
    ],
)
def test_an_impossible_combination_exits_2_with_the_mend(refused, arguments, message):
    assert message in refused("train", *arguments)


def test_a_part_may_be_chosen_by_a_first_word_in_place_of_a_preset(refused):
    found = refused("train", "model.corruption:masking", "--model.corruption.sigma", "1")
    assert "--model.corruption.sigma belongs to gaussian, but --model.corruption is masking" in found
    assert "model.corruption has no kind 'x'" in refused("train", "model.corruption:x")


def test_signals_that_are_ignored_stay_ignored_and_the_others_ask_for_a_stop():
    """As nohup and a shell's background job start a command."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for ignored, heard in ((signal.SIGINT, signal.SIGTERM), (signal.SIGHUP, signal.SIGINT)):
            for number in numbers:
                signal.signal(number, signal.SIG_IGN if number == ignored else signal.default_int_handler)
            stop = Stop()
            signal.raise_signal(ignored)
            assert not stop()
            signal.raise_signal(heard)
            assert stop()
            signal.raise_signal(ignored)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


BEFORE = """
import signal, sys
from pathlib import Path
from aeflax.cli.stopping import Stop

for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # also where the tests run under nohup
    signal.signal(number, signal.SIG_DFL)
stop, created, number = Stop(), Path(sys.argv[1]), int(sys.argv[2])
stop.path, stop.created, stop.together = created, True, len(sys.argv) > 3
created.mkdir()
try:
    signal.raise_signal(number)
except BaseException as error:  # what an extension does that is interrupted while Python imports it
    raise ImportError("the extension could not begin") from error
assert stop()
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_before_training_ends_the_command_at_once(number, tmp_path):
    words = [sys.executable, "-c", BEFORE, str(tmp_path / "vanilla-digits-1"), str(int(number))]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 75, ended.stderr
    assert ended.stderr == f"aeflax: stopped by {number.name} before training began; run the same command again\n"
    assert not any(tmp_path.iterdir())


def test_a_signal_before_training_is_told_as_json_also_where_the_terminal_is_gone(tmp_path):
    """A run directory that was named holds a run, perhaps, and the same command goes on with it."""
    code = BEFORE.replace("Stop()", "Stop(json=True)").replace("created, True", "created, False")
    words = [sys.executable, "-c", f"import os; os.close(2)\n{code}", str(tmp_path / "run"), str(int(signal.SIGHUP))]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["status"], told["run_dir"]) == (75, "stopped", str(tmp_path / "run"))
    assert told["error"].endswith("before training began; run the same command again, with --resume")
    assert (tmp_path / "run").exists()


def test_a_signal_before_training_waits_for_those_who_train_along(tmp_path):
    words = [sys.executable, "-c", BEFORE, str(tmp_path / "run"), str(int(signal.SIGTERM)), "together"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "run").exists()


def test_the_command_line_overrides_an_experiment_file(refused, tmp_path):
    (tmp_path / "mine.py").write_text("from aeflax.config import *\nCONFIG = Experiment(train=Train(epochs=3))\n")
    assert "both given" in refused("train", "mine.py", "--train.steps", "5")
    assert "train.epochs=0" in refused("train", "mine.py", "--train.epochs", "0")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = 1", "mine.py defines no CONFIG, an aeflax.config.Experiment; add one"),
        ("CONFIG = 3", "CONFIG in mine.py is of the type int, and must be an aeflax.config.Experiment"),
        ("from aeflax.config import *\nCONFIG = Experiment", "CONFIG in mine.py is of the type type"),
        ("\nraise RuntimeError('boom')", "mine.py:2 fails: RuntimeError: boom"),
        ("def f(:\n", "mine.py:1 fails: SyntaxError: invalid syntax"),
        ("\nimport no_such_module_anywhere", "mine.py:2 fails: ModuleNotFoundError"),
        ("\n\nopen('missing.txt')", "mine.py:3 fails: FileNotFoundError"),
        ("import json\njson.loads('{')", "mine.py:2 fails: JSONDecodeError"),
        ("import sys\nsys.exit(0)", "mine.py:2 fails: SystemExit: 0"),
        ("x = '\0'", "mine.py fails: SyntaxError"),
        ("from aeflax.config import *\nCONFIG = Experiment(data=Data(bach_size=1))", "mine.py:2 fails: TypeError"),
        ("from aeflax.config import *\nCONFIG = Experiment(data='mnist')", "CONFIG in mine.py is wrong: data='mnist'"),
        (
            "from aeflax.config import *\nCONFIG = Experiment(data=Data(batch_size=0), train=Train(seed=-1))",
            "CONFIG in mine.py is wrong: data.batch_size=0 lies outside [1, 16777216]; train.seed=-1",
        ),
        ("from aeflax.errors import *\nraise ConfigError('their own sentence')", "aeflax: their own sentence"),
    ],
)
def test_a_bad_experiment_file_exits_2_and_names_the_line(refused, tmp_path, content, message):
    (tmp_path / "mine.py").write_text(content)
    assert message in refused("train", "mine.py")


@pytest.mark.parametrize("name", ["missing.py", "folder.py"])
def test_a_missing_experiment_file_exits_2(refused, tmp_path, name):
    (tmp_path / "folder.py").mkdir()
    assert f"{name} is no file; check the path" in refused("train", name)


def test_a_part_that_an_experiment_file_defines_has_its_options(aeflax, tmp_path, monkeypatch):
    monkeypatch.setattr(Corruption, "kinds", dict(Corruption.kinds))
    (tmp_path / "mine.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\nfrom aeflax.config import *\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Blur(Corruption, kind='blur'):\n"
        "    '''Blurs.'''\n    width: float = 1.5  # in pixels\n"
        "CONFIG = Experiment(model=Model(corruption=Blur()))\n"
    )
    code, out, err = aeflax("train", "mine.py", "--help")
    assert (code, err) == (0, "")
    assert re.search(r"--model\.corruption\.width FLOAT\W+in pixels \(default: 1\.5\)", out)
    code, _, err = aeflax("train", "mine.py", "--model.corruption.width", "nan")
    assert (code, "model.corruption.width=nan is not finite" in err) == (2, True)


def test_a_directory_that_holds_a_run_needs_resume_or_overwrite(refused, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "experiment.json").write_text("{}")
    found = refused("train", "--run-dir", "kept")
    assert "kept already holds a run; add --resume to go on or --overwrite to replace it" in found


def test_resuming_what_holds_no_checkpoint_says_so(aeflax, tmp_path):
    words = ("train", "--run-dir", "runs/nothing", "--resume", "--data.source", "npy:missing.npy")
    said = "runs/nothing holds no checkpoint; starting at step 0 (vanilla on npy:missing.npy)"
    code, out, err = aeflax(*words)
    assert (code, out, said in err) == (5, "", True)
    assert said not in aeflax(*words[:3], *words[4:])[2]
    (tmp_path / "runs" / "nothing" / "checkpoints" / "8").mkdir(parents=True)
    (tmp_path / "runs" / "nothing" / "checkpoints" / "8" / "seal.json").touch()
    (tmp_path / "runs" / "nothing" / "checkpoints" / "8" / seal.NAME).touch()
    (tmp_path / "runs" / "nothing" / "experiment.json").touch()
    assert said not in aeflax(*words)[2]


def test_a_foreign_directory_is_refused_even_with_overwrite(refused, tmp_path):
    (tmp_path / "notes.txt").touch()
    assert "is not empty and holds no experiment.json" in refused("train", "--run-dir", ".", "--overwrite")


def test_evaluating_a_missing_run_exits_2(refused, tmp_path):
    (tmp_path / "file").touch()
    for name in ("missing", ".", "file"):
        assert f"{name} holds no run (experiment.json is missing); check the path" in refused("evaluate", name)


def test_an_unexpected_error_exits_1_with_its_traceback_and_out_of_memory_exits_2(aeflax, monkeypatch):
    def fail(error):
        def raising(*_):
            raise error

        monkeypatch.setattr("aeflax.cli.naming.choose_parts", raising)
        return aeflax("train")

    code, _, err = fail(RuntimeError("boom"))
    assert code == 1
    assert "RuntimeError: boom" in err
    assert "this is a bug of ours" in err
    mend = "; lower data.batch_size, or make the model smaller (model.latent_dim, model.backbone)"
    for error, said in (
        (MemoryError(), "MemoryError"),
        (RuntimeError("RESOURCE_EXHAUSTED: 3 GiB\nof buffers"), "RESOURCE_EXHAUSTED: 3 GiB"),
    ):
        code, _, err = fail(error)
        assert code == 2
        assert f"aeflax: out of memory ({said}){mend}" in err
    assert fail(KeyboardInterrupt())[0] == 130


def test_what_was_warned_of_is_part_of_the_answer(aeflax, monkeypatch):
    def judge(words):
        if words == ["--json"]:
            warn("the disk is old; take another")
        answer.give({"step": 3})
        return 0

    monkeypatch.setattr("aeflax.cli.doctor.main", judge)
    for words, warned in ((["--json"], {"warnings": ["the disk is old; take another"]}), ([], {"warnings": []})):
        _, out, err = aeflax("doctor", *words)
        assert json.loads(out) == {"status": "done", "step": 3, **warned}
        assert ("the disk is old" in err) == bool(warned["warnings"])


QUIT = """
import signal, sys
from aeflax.cli.stopping import Stop, end_at_once

number = signal.Signals(int(sys.argv[1]))
signal.signal(number, signal.SIG_DFL)  # also where the tests run in the background
if number == signal.SIGINT and len(sys.argv) > 2:  # a second Ctrl-C, while a run is being saved
    stop = Stop(json=True)
    stop(), signal.raise_signal(number)
else:
    end_at_once(json=True)
signal.raise_signal(number)
"""


@pytest.mark.parametrize("words", [["2"], ["15"], ["2", "twice"]], ids=" ".join)
def test_a_command_that_a_signal_ends_at_once_says_so_as_json(words):
    ended = subprocess.run([sys.executable, "-c", QUIT, *words], capture_output=True, text=True, check=False)
    number = signal.Signals(int(words[0]))
    told = {"status": "quit", "exit_code": 128 + number, "error": f"quit at once by {number.name}"}
    assert json.loads(ended.stdout) == told
    assert (ended.returncode, ended.stderr) == (128 + number, "")


LIGHT = {
    "help": (["--help"], 0),
    "no-command": ([], 2),
    "train-help": (["train", "--help"], 0),
    "preset-help": (["train", "vae", "--help"], 0),
    "evaluate-help": (["evaluate", "--help"], 0),
    "sweep-help": (["sweep", "--help"], 0),
    "detect-help": (["detect", "--help"], 0),
    "export-help": (["export", "--help"], 0),
    "doctor-help": (["doctor", "--help"], 0),
    "unknown-command": (["trian"], 2),
    "unknown-preset": (["train", "vea"], 2),
    "unknown-kind": (["train", "--model.bottleneck", "topk"], 2),
    "misspelt-option": (["train", "--optimizer.learning-rat", "3"], 2),
    "wrong-type": (["train", "--data.batch-size", "x"], 2),
    "out-of-range": (["train", "--data.batch-size", "0"], 2),
    "contradiction": (["train", "--train.epochs", "1", "--train.steps", "1"], 2),
    "resume-without-run": (["train", "--resume"], 2),
    "missing-file": (["train", "missing.py"], 2),
    "run-in-the-way": (["train", "--run-dir", "kept"], 2),
    "missing-run": (["evaluate", "missing"], 2),
    "missing-first-weights": (["train", "--init-from", "missing"], 2),
    "bench-help": (["bench", "conv", "--help"], 0),
    "bench-mistake": (["bench", "--seconds", "0"], 2),
    "malformed-synthetic-source": (["train", "--data.source", "synthetic:8"], 2),
    "profile-in-the-way": (["train", "--profile", "kept/experiment.json"], 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", LIGHT)
def test_help_and_configuration_errors_import_nothing_heavy(case, tmp_path):
    arguments, expected = LIGHT[case]
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "experiment.json").write_text("{}")
    code = (
        "import sys; from aeflax.cli import main; code = main(sys.argv[1:])\n"
        f"print('LOADED', sorted(set({HEAVY}) & set(sys.modules))); sys.exit(code)"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.stdout.splitlines()[-1] == "LOADED []"
    assert run.returncode == expected
    assert bool(run.stderr) == (expected != 0)


def test_the_module_is_the_command():
    run = subprocess.run([sys.executable, "-m", "aeflax", "trian"], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert "did you mean train?" in run.stderr


@pytest.mark.parametrize("stderr", [False, True])
def test_a_reader_that_leaves_ends_neither_the_run_nor_its_exit_code(stderr):
    code = (
        "import sys; from aeflax.cli.parsing import console as _console\n"
        f"console = _console(stderr={stderr}); sys.stdin.read()\n"
        "for _ in range(3): console.print('x')\n"
        "sys.exit(3)"
    )
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    streams["stderr" if stderr else "stdout"] = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, **streams) as process:
        (process.stderr if stderr else process.stdout).close()
        process.stdin.close()
        assert process.wait() == 3


@pytest.mark.slow
def test_a_resumed_run_has_its_own_settings_where_no_preset_is_named(run):
    first = ("train", "sparse", "--model.latent-dim", "3", "--train.steps", "4", "--data.batch-size", "300")
    assert run(*first, "--no-report", "--run-dir", "run")[0] == 0
    for given in (("--run-dir", "run"), ("--run-dir=run",)):
        code, out, err = run("train", "--resume", *given, "--train.steps", "6", "--no-report", "--json")
        assert code == 0, err
        assert json.loads(out)["step"] == 6
        assert ("at step 6 already: nothing was left to train" in err) == (given == ("--run-dir=run",))
    manifest = json.loads(Path("run/experiment.json").read_text())
    assert (manifest["preset"], manifest["resolved"]["model"]["latent_dim"]) == ("sparse", 3)
    whole = run(*first[:-3], "6", *first[-2:], "--no-report", "--run-dir", "whole", "--json")[1]
    assert json.loads(whole)["state_sha256"] == json.loads(out)["state_sha256"]
    code, _, err = run("train", "--resume", "--run-dir", "run", "--train.seed", "4", "--no-report")
    assert (code, "train.seed: 0 -> 4; repeat the first command" in err) == (2, True), err
    begin = ("train", "--resume", "--run-dir", "nowhere", "--train.steps", "2", "--no-report")
    code, _, err = run(*begin)  # neither a model nor data to begin with
    assert (code, "nowhere holds no run to go on with; check the path, or name the preset" in err) == (2, True), err
    assert not Path("nowhere").exists()
    assert run(*begin, "--data.source", "digits")[0] == 0
    code, _, err = run("train", "--resume", "--run-dir", "run", "--train.epochs", "2", "--no-report")
    assert (code, err.count("keep one")) == (0, 0)  # in place of the steps that the run was given
    assert json.loads(Path("run/experiment.json").read_text())["experiment"]["train"]["epochs"] == 2
    assert json.loads(Path("nowhere/experiment.json").read_text())["preset"] == "vanilla"
    named = (*first[:-4], *first[-2:], "--resume", "--no-report", "--run-dir", "run", "--json")
    code, out, err = run(*named, "--train.steps", "20")
    assert (code, "goes on with other settings" in err) == (0, False), err
    code, out, err = run(*named, "--train.steps", "21", "--train.placement", "pmap")
    assert (code, "goes on with other settings" in err) == (0, False), err
    code, out, err = run(*named, "--train.epochs", "9")
    told = "the command does not name: train.placement: 'pmap' -> 'auto' (--resume and --run-dir alone keep them)"
    assert code == 0, err
    assert told in json.loads(out)["warnings"][0]
