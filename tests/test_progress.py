"""What a person sees: the live bar, the plain lines, the final table."""

import io
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from aeflax import config, presets
from aeflax.cli.progress import Bar, Lines, final_table, reporter
from aeflax.training.records import Record

METRICS = ("bce", "mse", "psnr", "reconstruction_nats", "restored_bce", "restored_psnr", "corrupted_psnr")

LOSS_FITS = {(80, 4_000), (100, 4_000), (120, 4_000), (120, 1_000_000)}


def records():
    yield Record("start", 0, 2000, 0.0, devices="1 × cpu (jit)")
    yield Record("chunk", 8, 2000, 0.1)
    yield Record("train", 100, 2000, 1.0, "train", {"loss": 412.34}, 123_456.7)
    yield Record("evaluation", 100, 2000, 1.0, "test", {"elbo": -430.126, "mse": 0.01})
    yield Record("checkpoint", 100, 2000, 1.0)
    yield Record("evaluation", 200, 2000, 2.0, "test", {"elbo": -420.126, "mse": 0.01})
    yield Record("end", 200, 2000, 2.0)


def shown(width, *, terminal, monitor=None):
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, legacy_windows=False, color_system=None)
    callback = reporter(console, monitor)
    for record in records():
        callback(record)
    return callback, file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_bar_is_drawn_from_start_to_end(width):
    callback, text = shown(width, terminal=True)
    assert isinstance(callback, Bar)
    assert "training on 1 × cpu (jit), to step 2,000" in text
    assert "0/2,000 compiling" in text
    assert "200/2,000" in text
    assert "left" in text
    assert "━" in text
    if width >= 80:
        assert "test elbo -420.13" in text


def test_a_table_s_rows_are_no_images():
    file = io.StringIO()
    lines = Lines(Console(file=file, width=80))
    lines(Record("train", 9, 9, 1.0, "train", {"loss": 1.0}, 1_000.0, examples="rows"))
    lines(Record("evaluation", 9, 9, 1.0, "test", {"mse": 0.25}, examples="rows"))
    assert file.getvalue().endswith("1,000 rows/s\n")
    assert "rows/s" in drawn(final_table(summary(), MODEL, "rows"), 80)


def test_what_is_read_is_one_line_in_a_file_and_its_brackets_are_kept():
    file = io.StringIO()
    data = f"/data/[red]/{'long' * 20}.npz: 60,000 train, 10,000 test images of 28×28×1, uint8, no labels"
    Lines(Console(file=file, width=80))(Record("start", 0, 2000, 0.0, devices="1 × cpu (jit)", data=data))
    assert file.getvalue().splitlines() == ["training on 1 × cpu (jit), to step 2,000", data]


@pytest.mark.parametrize("steps", [4_000, 1_000_000])
@pytest.mark.parametrize("width", [72, 80, 100, 120])
def test_the_bar_and_the_times_stay_whole_beside_the_notes(width, steps):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, legacy_windows=False, color_system=None)
    bar = Bar(console)
    bar(Record("start", 0, steps, 0.0, devices="1 × cpu (jit)"))
    bar(Record("train", steps - 1, steps, 12.3, "train", {"loss": 412.34}, 123_456.7))
    bar(Record("evaluation", steps - 1, steps, 12.3, "test", {"bce": 0.263456}))
    bar(Record("end", steps - 1, steps, 12.3))
    line = next(line for line in reversed(console.file.getvalue().splitlines()) if "left" in line)
    assert "…" not in line
    assert len(re.findall("[━╸╺]", line)) >= 7  # of eight columns; half of one may be blank without colours
    assert re.search(r"0:00:00 --:-- left" if width >= 100 else r" --:-- left", line)
    assert "test bce 0.26346" in line
    assert ("train loss 412.34 nats" in line) == ((width, steps) in LOSS_FITS)
    assert ("123,457 images/s" in line) == ((width, steps) == (120, 4_000))


def test_lines_never_repeat_an_old_loss():
    callback, text = shown(80, terminal=False)
    assert isinstance(callback, Lines)
    assert text.splitlines() == [
        "training on 1 × cpu (jit), to step 2,000",
        "step 100/2000  epoch 1.0  test elbo -430.13  train loss 412.34 nats  123,457 images/s",
        "step 200/2000  epoch 2.0  test elbo -420.13",
    ]


def test_a_loss_of_another_step_says_so():
    console = Console(file=io.StringIO(), width=100)
    lines = Lines(console)
    lines(Record("train", 100, 2000, 1.0, "train", {"loss": 412.34}, 123_456.7))
    lines(Record("evaluation", 150, 2000, 1.5, "test", {"bce": 0.25}))
    told = "step 150/2000  epoch 1.5  test bce 0.25  train loss 412.34 nats at step 100  123,457 images/s"
    assert console.file.getvalue().splitlines() == [told]


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_monitored_is_what_is_shown(terminal):
    assert "test mse 0.01" in shown(120, terminal=terminal, monitor="mse")[1]


MODEL = presets.vanilla(16).model


def summary(**changes):
    split = dict.fromkeys(METRICS, 0.123456)
    return {
        "step": 1000,
        "seconds": 3.2,
        "images_per_second": 100_000.0,
        "parameters": 1234,
        "train": split,
        "test": split,
        "pca": {"dim": 16, "compresses": True, "test": {"mse": 0.01}},
    } | changes


def drawn(table, width):
    file = io.StringIO()
    Console(file=file, width=width).print(table)
    return file.getvalue()


@pytest.mark.parametrize("validation", [False, True])
def test_no_metric_is_cut_in_eighty_columns(validation):
    extra = {"validation": dict.fromkeys(METRICS, -123.456)} if validation else {}
    text = drawn(final_table(summary(**extra), MODEL), 80)
    assert all(name in text for name in METRICS)
    assert "…" not in text
    assert "PCA(16)" in text


LINEAR = replace(MODEL, bottleneck=config.Deterministic(activation="linear"))
RELU = replace(MODEL, bottleneck=config.Deterministic(activation="relu"))


@pytest.mark.parametrize(
    ("model", "error", "linear", "said"),
    [
        (LINEAR, 0.03, 0.03, "a larger code (--model.latent-dim) keeps more"),  # of a variance of 0.04
        (LINEAR, 0.03, 0.01, "train longer"),
        (RELU, 0.03, 0.01, "train longer, or with --model.bottleneck.activation linear"),
        (LINEAR, 0.004, 0.002, "train longer"),  # worse than PCA
        (LINEAR, 0.0025, 0.002, None),
        (LINEAR, 0.0006, 0.0001, None),  # which is good all the same
        (presets.vae(16).model, 0.03, 0.01, "train longer, or with a smaller beta (model.penalties.kl.beta)"),
        (presets.vae(16).model, 0.004, 0.002, None),  # with a sample of the posterior
        (presets.sparse(16).model, 0.03, 0.01, None),
        (presets.denoising(16).model, 0.03, 0.01, None),
    ],
)
def test_a_model_that_reconstructs_little_says_what_would_help(model, error, linear, said):
    pca = {"dim": 16, "compresses": True, "test": {"mse": linear}, "variance": 0.04}
    text = drawn(final_table(summary(pca=pca, test={"mse": error}), model), 200)
    shares = f"The model leaves {error / 0.04:.0%} of the variance of the test examples, PCA(16) {linear / 0.04:.0%}"
    assert (f"{shares}: {said}.\n" in text) if said else ("leaves" not in text)


def test_the_table_says_what_is_to_be_known():
    text = drawn(final_table(summary(pca={"dim": 64, "compresses": False, "test": {"mse": 1e-15}}), MODEL), 120)
    assert "PCA(64) would keep every feature: the code is no smaller than the data" in text
    assert "1e-15" not in text
    best = {"step": 500, "monitor": "elbo", "value": -100.0}
    text = drawn(final_table(summary(best=best, stopped_early=True, test={"elbo": -101.0}), MODEL), 120)
    assert "stopped early" in text
    assert "Best validation elbo -100 at step 500 (--step best)" in text
    assert "one posterior sample" in text


@pytest.mark.slow
@pytest.mark.parametrize("columns", ["60", "80", "140"])
def test_a_run_on_a_terminal_ends_with_its_table(columns, tmp_path):
    main, side = pty.openpty()
    command = [sys.executable, "-m", "aeflax", "train", "--train.steps", "300", "--no-report"]
    environment = {**os.environ, "COLUMNS": columns, "LINES": "40", "TERM": "xterm-256color"}
    environment.pop("XLA_FLAGS", None)
    with subprocess.Popen(command, cwd=tmp_path, stdout=side, stderr=side, env=environment) as process:
        os.close(side)
        seen = b""
        while True:
            try:
                piece = os.read(main, 65536)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            seen += piece
    os.close(main)
    text = seen.decode()
    assert process.returncode == 0, text
    assert "300/300" in text
    assert "reconstruction_nats" in text
    assert "run kept in runs/vanilla-digits-1" in text
