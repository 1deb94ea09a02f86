"""`aeflax denoise`: what it writes, prints and keeps, and what it answers to mistakes."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import aeflax
from aeflax import presets
from aeflax.applications import denoising
from aeflax.applications.filters import FILTERS
from aeflax.config import Data, GaussianLikelihood, GaussianNoise, Train
from aeflax.evaluation.quality import quality


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Denoising models of digits, of digits whose scaling is fitted, and of vectors; noisy digits and clean ones."""
    place = tmp_path_factory.mktemp("runs")
    train = Train(steps=40)
    base = replace(presets.denoising(8), train=train)
    aeflax.train(base, run_dir=place / "digits", report=False)
    free = replace(base.model, likelihood=GaussianLikelihood(), corruption=GaussianNoise(clip=False))
    aeflax.train(replace(base, data=Data(scale="standard"), model=free), run_dir=place / "fitted", report=False)
    np.save(place / "table.npy", np.random.RandomState(0).normal(size=(50, 5)).astype(np.float32))
    vectors = replace(base, data=Data(source=f"npy:{place / 'table.npy'}"), model=free)
    aeflax.train(vectors, run_dir=place / "table", report=False)
    digits = np.asarray(aeflax.load(place / "digits").split("test").values[:])[:40]
    clean = digits.astype(np.float32) / 16
    noisy = np.clip(clean + 0.4 * np.random.RandomState(1).randn(*clean.shape), 0, 1).astype(np.float32)
    for name, values in {"clean": clean, "noisy": noisy, "fewer": clean[:-1], "empty": noisy[:0]}.items():
        np.save(place / f"{name}.npy", values)
    return place


@pytest.fixture(autouse=True)
def few_filters(monkeypatch):
    """Two strengths of each filter, chosen on three images: what is tested here does not depend on them."""
    monkeypatch.setattr(denoising, "TUNED_ON", 3)
    few = {name: replace(each, strengths=each.strengths[:2]) for name, each in FILTERS.items()}
    monkeypatch.setattr(denoising, "FILTERS", few)


@pytest.mark.slow
def test_a_denoised_example_is_its_reconstruction(run, runs):
    for command in ("denoise", "reconstruct"):
        code, out, err = run(command, runs / "digits", "digits", f"{command}.npz", "--split", "test")
        assert (code, out) == (0, ""), err
    assert "359 reconstructions in reconstruct.npz" in err
    with np.load("denoise.npz") as ours, np.load("reconstruct.npz") as theirs:
        assert set(ours) == {"reconstruction", "label"}
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.slow
def test_what_it_did_is_said_on_standard_error(run, runs):
    code, out, err = run("denoise", runs / "digits", runs / "noisy.npy", "out.npy")
    assert (code, out, err.strip()) == (0, "", "40 denoised examples in out.npy")


def test_a_picture_shows_the_first_images(run, runs):
    from PIL import Image

    assert run("denoise", runs / "digits", runs / "noisy.npy", "out.png")[0] == 0
    with Image.open("out.png") as picture:
        assert picture.size == (7 * 9 - 1, 6 * 9 - 1)


def test_clean_examples_tell_how_much_was_taken_away(run, runs):
    words = ("denoise", runs / "digits", runs / "noisy.npy", "out.npy", "--clean", runs / "clean.npy")
    code, out, err = run(*words, "--json")
    assert code == 0
    assert "PSNR, dB" in err
    found = json.loads(out)
    clean, noisy = (np.load(runs / f"{name}.npy") for name in ("clean", "noisy"))
    for name, made in (("before", noisy), ("after", np.load("out.npy"))):
        for metric, values in quality(made, clean).items():
            assert found["clean"][name][metric]["mean"] == pytest.approx(values.mean(), rel=1e-5)
    assert found["examples"] == 40
    assert "denoising" not in found
    code, out, _ = run(*words)
    psnr = found["clean"]["before"]["psnr"]["mean"]
    assert f"{psnr:.2f} ±" in out
    assert "SSIM" in out


def test_vectors_and_data_of_any_range_are_compared_by_their_squared_error(run, runs):
    for name, source in (("table", runs / "table.npy"), ("fitted", "digits")):
        code, out, err = run("denoise", runs / name, source, "out.npy", "--clean", source, "--json")
        assert code == 0, err
        assert set(json.loads(out)["clean"]["after"]) == {"mse"}
        assert json.loads(out)["clean"]["before"]["mse"]["mean"] == 0


@pytest.mark.slow
def test_judging_prints_keeps_and_reports(run, runs):
    words = ("denoise", runs / "digits", runs / "noisy.npy", "out.npy", "--judge", "--examples", "9")
    code, out, err = run(*words, "--json")
    assert code == 0, err
    found = json.loads(out.strip().splitlines()[-1])["denoising"]
    assert found["examples"] == 9
    kept = json.loads((runs / "digits" / "applications" / "denoising.json").read_text())
    assert kept["kinds"] == found["kinds"]
    code, out, _ = run(*words)
    assert "Gaussian 0.4, trained" in out
    assert "non-local means" in out
    assert "chosen for each kind and level by PSNR on 3 training images" in " ".join(out.split())
    other = json.loads(run(*words, "--json", "--seed", "1")[1])["denoising"]
    assert other["kinds"] != found["kinds"]
    assert run("report", runs / "digits")[0] == 0
    assert ">Denoising</h2>" in (runs / "digits" / "report.html").read_text()
    for name in ("denoising", "denoising_examples"):
        assert (runs / "digits" / "figures" / f"{name}.png").exists()


@pytest.mark.parametrize(
    ("words", "expected", "message"),
    [
        (("digits", "RUNS/noisy.npy", "a.npy", "--judge", "--examples", "0"), 2, "--examples 0 is too few"),
        (("digits", "RUNS/noisy.npy", "a.npy", "--judge", "--seed", "-1"), 2, "--seed -1 lies outside [0, 2^32)"),
        (("digits", "RUNS/noisy.npy", "a.npy", "--seed", "1"), 2, "--seed is of --judge; give both, or neither"),
        (("digits", "RUNS/noisy.npy", "a.npy", "--clean", "RUNS/no.npy"), 5, "cannot read RUNS/no.npy"),
        (("digits", "RUNS/noisy.npy", "RUNS/clean.npy", "--clean", "RUNS/clean.npy"), 2, "is the file that is read"),
        (("digits", "RUNS/noisy.npy", "a.npy", "--clean", "RUNS/fewer.npy"), 5, "RUNS/fewer.npy holds 39 examples"),
        (("digits", "RUNS/noisy.npy", "a.npy", "--clean", "RUNS/table.npy"), 5, "holds 50 examples of the shape [5]"),
        (("digits", "RUNS/empty.npy", "a.npy", "--clean", "RUNS/empty.npy"), 5, "empty"),
        (("digits", "RUNS/table.npy", "a.npy"), 5, "examples have the shape [5]; this model was trained on"),
        (("table", "RUNS/table.npy", "a.npy", "--judge"), 2, "this run's examples are vectors of 5 values; compare"),
        (("fitted", "digits", "a.npy", "--judge"), 2, "this run's data lie outside of it; train with --data.scale"),
        (("table", "RUNS/table.npy", "a.png"), 2, "a.png shows images, and these are vectors of 5 values"),
        (("digits", "RUNS/noisy.npy", "a.txt"), 2, "has the suffix .txt"),
        (("nothing", "RUNS/noisy.npy", "a.npy", "--judge"), 2, "holds no run"),
    ],
)
def test_mistakes_are_answered_in_one_sentence(run, runs, tmp_path, words, expected, message):
    name, *rest = (word.replace("RUNS", str(runs)) for word in words)
    before = (runs / "clean.npy").read_bytes()
    code, out, err = run("denoise", runs / name, *rest)
    assert (code, out) == (expected, "")
    assert message.replace("RUNS", str(runs)) in err
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
    assert (runs / "clean.npy").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["table", "fitted"])
def test_what_cannot_be_judged_is_refused_before_jax_is_imported(name, runs):
    code = f"""
import sys
from aeflax.cli import denoise
try:
    denoise.main([{str(runs / name)!r}, {str(runs / "table.npy")!r}, "a.npy", "--judge"])
except ValueError:
    sys.exit("jax" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
