"""`aeflax sample`, `interpolate` and `traverse`: what they write, print and keep, and what they answer to mistakes."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import aeflax
from aeflax import presets
from aeflax.config import Data, GaussianLikelihood, Train
from aeflax.data.inputs import open_examples


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A vae on digits, and a sparse model of vectors, kept."""
    place = tmp_path_factory.mktemp("runs")
    vae = replace(presets.vae(4), data=Data(source="digits"), train=Train(steps=60))
    aeflax.train(vae, run_dir=place / "vae", report=False)
    np.save(place / "table.npy", np.random.RandomState(0).normal(size=(50, 5)).astype(np.float32))
    sparse = replace(presets.sparse(6), data=Data(source=f"npy:{place / 'table.npy'}"), train=Train(steps=20))
    sparse = replace(sparse, model=replace(sparse.model, likelihood=GaussianLikelihood()))
    aeflax.train(sparse, run_dir=place / "vectors", report=False)
    return place


def size(path):
    with Image.open(path) as picture:
        return picture.size


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_leaves_the_file_that_was_there(runs, tmp_path, number):
    (tmp_path / "out.csv").write_text("old")
    heard = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from aeflax.cli import main; "
    )
    words = ["sample", str(runs / "vae"), "out.csv", "--count", "1000000"]
    process = subprocess.Popen(
        [sys.executable, "-c", heard + "sys.exit(main(sys.argv[1:]))", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len(os.listdir(tmp_path)) == 1 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (128 + number, "")
    assert os.listdir(tmp_path) == ["out.csv"]
    assert (tmp_path / "out.csv").read_text() == "old"


@pytest.mark.slow
def test_nothing_is_written_among_what_the_run_keeps(run, runs):
    for place in ("applications/a.npz", "checkpoints/60/a.npy", "figures/a.png"):
        (runs / "vae" / place).parent.mkdir(exist_ok=True)
        code, _, err = run("sample", runs / "vae", runs / "vae" / place)
        assert (code, "would lie among what the run keeps" in err) == (2, True), place
        assert not (runs / "vae" / place).exists()
    assert run("sample", runs / "vae", runs / "vae" / "mine.npy")[0] == 0


@pytest.mark.slow
def test_temperature_multiplies_the_codes(run, runs):
    for temperature in (1, 0.5):
        words = ("--count", "5", "--temperature", temperature)
        assert run("sample", runs / "vae", f"{temperature}.npy", *words)[0] == 0
    model = aeflax.load(runs / "vae")
    codes = model.inference.prior(0, 5)
    np.testing.assert_array_equal(np.load("1.npy"), model.sample(5))
    np.testing.assert_allclose(np.load("0.5.npy"), model.decode(codes / 2), rtol=1e-5)


def test_nearest_training_examples_are_written_beside_samples(run, runs):
    code, out, err = run("sample", runs / "vae", "drawn.npz", "--count", "5", "--nearest", "--json")
    assert code == 0, err
    model = aeflax.load(runs / "vae")
    train = np.asarray(model.split("train").values[:]).astype(np.float64)
    with np.load("drawn.npz") as made:
        assert list(made) == ["sample", "nearest", "index", "distance"]
        np.testing.assert_array_equal(made["sample"], model.sample(5))
        np.testing.assert_array_equal(made["nearest"], train[made["index"]])
        each = (((made["sample"][:, None] - train[None]) / 16) ** 2).mean(axis=(2, 3, 4))
        np.testing.assert_array_equal(made["index"], each.argmin(axis=1))
        np.testing.assert_allclose(made["distance"], each.min(axis=1), rtol=1e-5)
    found = json.loads(out)
    assert (found["count"], found["samples"]["training_examples"]) == (5, 1438)
    assert "different nearest ones" in " ".join(err.split())
    kept = json.loads((runs / "vae" / "applications" / "generation.json").read_text())
    assert kept["samples"] == found["samples"]


@pytest.mark.slow
def test_the_report_shows_what_was_found(run, runs):
    assert run("sample", runs / "vae", "a.png", "--count", "4", "--nearest")[0] == 0
    assert size("a.png") == (2 * 18 - 1, 2 * 9 - 1)  # two by two pairs of images of eight pixels, a line between
    assert run("report", runs / "vae")[0] == 0
    page = (runs / "vae" / "report.html").read_text()
    assert ">Generation</h2>" in page
    assert "different nearest ones" in page
    assert (runs / "vae" / "figures" / "generation_traversal.png").exists()


@pytest.mark.slow
def test_a_model_without_a_prior_has_ways_through_its_code_in_the_report(run, runs):
    found = aeflax.load(runs / "vectors").judge.generation()
    assert not found["prior"]
    assert run("report", runs / "vectors")[0] == 0
    page = (runs / "vectors" / "report.html").read_text()
    assert "has no prior, so nothing is drawn from it" in page
    assert 'id="generation_interpolations"' in page


def test_interpolations_lead_from_one_input_to_the_other(run, runs):
    words = ("digits", "way.npz", "--between", "3", "8", "0", "1", "--count", "4", "--path", "linear")
    code, _, err = run("interpolate", runs / "vae", *words)
    assert (code, "8 interpolations in way.npz" in err) == (0, True)
    model = aeflax.load(runs / "vae")
    digits = open_examples("digits").at(np.array([3, 8]))
    with np.load("way.npz") as made:
        assert made["interpolation"].shape == (8, 8, 8, 1)
        np.testing.assert_allclose(made["interpolation"][[0, 3]], model.reconstruct(digits), rtol=1e-3, atol=1e-3)
        between = model.decode((model.encode(digits) * [[2 / 3], [1 / 3]]).sum(axis=0, keepdims=True))
        np.testing.assert_allclose(made["interpolation"][[1]], between, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(made["pair"], [0] * 4 + [1] * 4)


@pytest.mark.slow
def test_a_picture_has_a_row_for_each_pair_and_each_dimension(run, runs):
    assert run("interpolate", runs / "vae", "digits", "a.png", "--between", "3", "8", "0", "1")[0] == 0
    assert size("a.png") == (9 * 9 - 1, 2 * 9 - 1)
    assert run("traverse", runs / "vae", "b.png", "--dimensions", "3", "--count", "5")[0] == 0
    assert size("b.png") == (5 * 9 - 1, 3 * 9 - 1)


def test_vectors_of_any_variant_are_interpolated_and_traversed(run, runs):
    table = runs / "table.npy"
    assert run("interpolate", runs / "vectors", table, "a.csv", "--between", "0", "1")[0] == 0
    assert run("traverse", runs / "vectors", "b.csv", "--of", table, "--index", "2")[0] == 0
    with open("b.csv") as file:
        heads = file.readline().strip().split(",")
    assert heads == [*(f"traversal_{i}" for i in range(5)), "dimension", "value", "variance"]
    assert np.loadtxt("b.csv", delimiter=",", skiprows=1).shape == (6 * 9, 8)


def test_a_traversal_goes_over_its_span_in_order_of_the_kl(run, runs):
    words = ("--span", "2", "--count", "3", "--dimensions", "2", "--of", "digits", "--index", "7", "--json")
    code, out, err = run("traverse", runs / "vae", "walk.npz", *words)
    assert code == 0, err
    found = json.loads(out)
    kl = [each["kl"] for each in found["traversal"]]
    assert (found["measure"], kl) == ("kl", sorted(kl, reverse=True))
    assert "KL, nats" in err
    model = aeflax.load(runs / "vae")
    codes = np.repeat(model.encode(open_examples("digits").at(np.array([7]))), 3, axis=0)
    codes[:, found["traversal"][0]["dimension"]] = [-2, 0, 2]
    with np.load("walk.npz") as made:
        np.testing.assert_allclose(made["traversal"][:3], model.decode(codes), rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(made["value"], [-2, 0, 2] * 2)
        assert made["dimension"].tolist() == [each["dimension"] for each in found["traversal"] for _ in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected", "message"),
    [
        (("sample", "vae", "a.npy", "--temperature", "-1"), 2, "temperature -1 lies outside [0, 1e+06]"),
        (("sample", "vae", "a.npy", "--temperature", "nan"), 2, "temperature nan lies outside [0, 1e+06]"),
        (("sample", "vae", "a.npy", "--temperature", "1e9"), 2, "temperature 1e+09 lies outside [0, 1e+06]"),
        (("sample", "vectors", "a.npz", "--nearest"), 2, "needs a model with a prior"),
        (
            ("sample", "vae", "a.npy", "--nearest"),
            2,
            "a.npy holds one array, and --nearest writes more; end it in .npz",
        ),
        (("sample", "vectors", "TABLE"), 2, "table.npy is the file that is read, too; write to another one"),
        (("traverse", "vectors", "TABLE"), 2, "table.npy is the file that is read, too; write to another one"),
        (
            ("interpolate", "vectors", "digits", "TABLE", "--between", "0", "1"),
            2,
            "table.npy is the file that is read, too",
        ),
        (("interpolate", "vae", "digits", "a.npy", "--between", str(2**63), "0"), 2, "is no index"),
        (("interpolate", "vae", "digits", "a.npy", "--between", "1"), 2, "--between takes two indices a pair"),
        (("interpolate", "vae", "digits", "a.npy", "--between", "1", "1797"), 2, "digits has no example 1797"),
        (
            ("interpolate", "vae", "digits", "a.npy", "--between", "1", "2", "--count", "1"),
            2,
            "--count 1 lies outside [2, 10,000]",
        ),
        (("interpolate", "vectors", "TABLE", "a.png", "--between", "1", "2"), 2, "shows images"),
        (("interpolate", "vae", "TABLE", "a.npy", "--between", "1", "2"), 5, "this model was trained on [8, 8, 1]"),
        (("traverse", "vae", "a.npy", "--dimensions", "0"), 2, "--dimensions 0 is too few"),
        (("traverse", "vae", "a.npy", "--span", "0"), 2, "--span 0 lies outside (0, 1e+06]"),
        (("traverse", "vae", "a.npy", "--span", "1e39"), 2, "--span 1e+39 lies outside (0, 1e+06]"),
        (("traverse", "vae", "a.npy", "--index", "1"), 2, "--index is of an example of --of IN"),
        (("traverse", "vae", "a.npy", "--of", "digits", "--index", "1797"), 2, "digits has 1,797 examples"),
        (("traverse", "vectors", "a.npy", "--span", "2"), 2, "--span needs a code with a prior"),
        (("traverse", "vectors", "a.png"), 2, "shows images"),
        (("traverse", "none", "a.npy"), 2, "holds no run"),
        (("traverse", "vae", "a.txt"), 2, "end it in .npy"),
    ],
)
def test_mistakes_get_one_sentence_and_leave_nothing(run, runs, words, expected, message, tmp_path):
    command, name, *rest = words
    code, out, err = run(command, runs / name, *(word.replace("TABLE", str(runs / "table.npy")) for word in rest))
    assert (code, out) == (expected, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_disk_holds_is_refused_at_once(run, runs, tmp_path):
    code, _, err = run("sample", runs / "vae", tmp_path / "much.npy", "--count", str(10**13))
    assert code == 2
    assert "GB left; draw fewer" in err
    assert not any(tmp_path.iterdir())
