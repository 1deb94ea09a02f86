"""What is wrong with the options of a command line, before they are parsed."""

from dataclasses import replace

import pytest

from aeflax.cli.bench import BenchCommand
from aeflax.cli.completion import CompletionCommand
from aeflax.cli.export import ExportCommand
from aeflax.cli.interpolate import InterpolateCommand
from aeflax.cli.options import look_over
from aeflax.cli.train import TrainCommand
from aeflax.cli.use import EncodeCommand
from aeflax.config import Conv, Dense, Experiment, Model


def faults(*words, model=None):
    experiment = Experiment(model=model or Model())
    return look_over(TrainCommand, replace(TrainCommand(), experiment=experiment), words)[0]


@pytest.mark.parametrize(
    "words",
    [
        ["--train.steps", "3", "--train.epochs", "None", "--json"],
        ["--train.steps=3", "--train.log_every=5", "--data.resident", "True"],
        ["--model.backbone.widths", "3", "4", "--resume", "--optimizer.boundaries"],
        ["--optimizer.learning-rate", "1e-3", "--train.seed", "-1", "--run-dir", "-odd"],
        ["--train.monitor", "elbo", "--distributed", "--start-timeout", "3"],
    ],
    ids=" ".join,
)
def test_what_is_right_is_left_as_it_is(words):
    assert faults(*words) == []
    joined = look_over(TrainCommand, TrainCommand(), words)[1]
    assert " ".join(joined).replace("=", " ") == " ".join(words).replace("=", " ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--train.stepz", "3"], "unknown option --train.stepz; did you mean --train.steps?"),
        (["--seed", "3"], "unknown option --seed; did you mean --train.seed?"),
        (["--lr=3"], "unknown option --lr; did you mean --optimizer.learning-rate?"),
        (["--zzz"], "unknown option --zzz, see --help"),
        (["--train.steps", "1.5"], "--train.steps='1.5' must be a whole number or None"),
        (["--train.steps"], "--train.steps needs a value"),
        (["--train.steps", "--json"], "--train.steps needs a value"),
        (["--train.steps", "1", "2"], "'2' belongs to no option; leave it out"),
        (["--model.backbone.widths", "1", "b"], "--model.backbone.widths='b' must be a whole number"),
        (["--data.scale", "units"], "--data.scale='units' must be none, unit or standard; did you mean unit?"),
        (["--train.exact", "yes"], "--train.exact='yes' must be True or False"),
        (["--resume=True"], "--resume takes no value; leave out 'True'"),
    ],
)
def test_each_fault_is_a_sentence(words, said):
    assert faults(*words) == [said]


def test_all_are_found_and_only_what_is_right_is_left():
    words = ["--train.stepz", "3", "--data.batch-size", "x", "--train.seed", "4", "extra", "--resume"]
    found, left = look_over(TrainCommand, TrainCommand(), words)
    assert [fault.split()[0] for fault in found] == ["unknown", "--data.batch-size='x'", "'extra'"]
    assert left == ["--train.seed=4", "--resume"]


def test_options_are_those_of_the_parts_that_were_chosen():
    assert faults("--model.backbone.kernel", "3", model=Model(backbone=Conv())) == []
    assert faults("--model.backbone.kernel", "3", model=Model(backbone=Dense()))


def test_a_command_has_as_many_places_as_it_says():
    right = ["run", "in.npy", "--split", "all", "out.npy"]
    assert look_over(EncodeCommand, None, right) == ([], ["run", "in.npy", "--split=all", "out.npy"])
    found, left = look_over(EncodeCommand, None, [*right, "more", "--step", "9"])
    assert (found, left[-1]) == (["'more' belongs to no option; leave it out"], "--step=9")


def test_words_without_an_option_are_looked_over_too():
    assert look_over(CompletionCommand, None, ["bsh"]) == (
        ["SHELL='bsh' must be bash, zsh or fish; did you mean bash?"],
        [],
    )


def test_an_option_that_took_a_place_is_named():
    words = ["run", "--carry", "id", "in.csv", "out.csv"]
    said = "IN and OUT are missing; --carry takes all words that follow, so put it behind the places"
    assert look_over(EncodeCommand, None, words)[0] == [said]
    assert look_over(EncodeCommand, None, [*words[:1], *words[3:], *words[1:3]])[0] == []


def test_values_are_parted_by_spaces():
    said = "--batch-sizes='64,128' must be a whole number; values are parted by spaces"
    assert look_over(BenchCommand, BenchCommand(), ["--batch-sizes", "64,128"]) == ([said], [])


def test_an_option_that_must_be_there_is_asked_for():
    found, _ = look_over(InterpolateCommand, None, ["run", "in.npy", "out.png"])
    assert found == ["--between is missing; see --help"]
    assert look_over(InterpolateCommand, None, ["run", "in.npy", "out.png", "--between", "0", "1"])[0] == []


def test_a_run_that_stands_alone_is_asked_whether_it_is_the_run_directory(tmp_path):
    (tmp_path / "experiment.json").write_text("{}")
    found, _ = look_over(TrainCommand, TrainCommand(), ["--resume", str(tmp_path)])
    assert found == [f"'{tmp_path}' belongs to no option; did you mean --run-dir {tmp_path}?"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["--train.lr", "0.1"], "did you mean --optimizer.learning-rate?"),
        (["--optimizer.schedule", "exp"], "did you mean exponential?"),
    ],
)
def test_shortened_names_are_understood(words, meant):
    (said,) = look_over(TrainCommand, TrainCommand(), words)[0]
    assert said.endswith(meant)


def test_a_word_that_one_option_takes_is_asked_whether_it_is_its_value():
    found, _ = look_over(ExportCommand, None, ["run", "onnx"])
    assert found == ["'onnx' belongs to no option; did you mean --format onnx?"]
