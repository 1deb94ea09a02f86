"""`aeflax diagnose` and `Run.diagnose`: what they print and keep, and what they answer to mistakes."""

import json
from dataclasses import replace

import numpy as np
import pytest

import aeflax
from aeflax import presets
from aeflax.cli import main
from aeflax.config import KL, Data, GaussianLikelihood, Penalties, Train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A collapsed vae on digits, a sparse model of vectors, and a plain one, kept."""
    place = tmp_path_factory.mktemp("runs")
    vae = replace(presets.vae(4), data=Data(source="digits"), train=Train(steps=400))
    vae = replace(vae, model=replace(vae.model, penalties=Penalties(kl=KL(beta=100.0))))
    aeflax.train(vae, run_dir=place / "vae", report=False)
    np.save(place / "table.npy", np.random.RandomState(0).normal(size=(50, 5)).astype(np.float32))
    for name, preset in (("sparse", presets.sparse(6)), ("plain", presets.vanilla(3))):
        settings = replace(preset, data=Data(source=f"npy:{place / 'table.npy'}"), train=Train(steps=20))
        settings = replace(settings, model=replace(settings.model, likelihood=GaussianLikelihood()))
        aeflax.train(settings, run_dir=place / name, report=False)
    return place


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command -> (exit code, output, errors)."""
    monkeypatch.setenv("COLUMNS", "400")

    def command(*words):
        code = main(["diagnose", *(str(word) for word in words)])
        return (code, *capsys.readouterr())

    return command


@pytest.mark.slow
def test_a_collapsed_posterior_is_said_to_be_one(run, runs):
    code, out, err = run(runs / "vae", "--samples", "2")
    assert code == 0, err
    for word in (
        "mutual information",
        "log-likelihood, 2 samples",
        "active on 359 test examples",
    ):
        assert word in out
    assert "has collapsed to the prior" in out
    assert "Try a --model.penalties.kl.beta smaller than 100; 1 is the ELBO" in out


@pytest.mark.slow
def test_json_holds_what_python_gives_and_tables_go_to_standard_error(run, runs):
    code, out, err = run(runs / "vae", "--samples", "2", "--split", "train", "--json")
    assert code == 0
    assert "mutual information" in err
    found = json.loads(out)
    assert (found.pop("status"), found.pop("step"), found.pop("warnings")) == ("done", 400, [])
    assert found == aeflax.load(runs / "vae").judge.diagnosis("train", samples=2)
    assert found["posterior"]["collapse"] == "all"
    assert found["posterior"]["examples"] == 1438


def test_a_sparse_code_has_its_own_panel(run, runs):
    code, out, err = run(runs / "sparse")
    assert code == 0, err
    for word in ("active units (L0)", "cosine of encoder and decoder", "of 6 units are active at a time"):
        assert word in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "figures"), [("vae", ["posterior_kl", "posterior_aggregated"]), ("sparse", ["sparsity_density"])]
)
def test_what_is_found_is_kept_and_shown_by_the_report(runs, name, figures):
    kept = aeflax.load(runs / name)
    kept.judge.diagnosis(samples=2)
    page = kept.report().read_text()
    assert {"vae": "The posterior", "sparse": "The sparse code"}[name] in page
    for figure in figures:
        assert (runs / name / "figures" / f"{figure}.png").exists()
        assert f'id="{figure}-' in page


def test_a_plain_code_has_nothing_to_diagnose(run, runs):
    code, out, err = run(runs / "plain")
    assert code == 2
    assert out == ""
    assert err.startswith("aeflax: there is nothing to diagnose: this model's code has neither a posterior nor sparse")
    assert err.count("\n") == 1


def test_mistakes_are_answered_in_a_sentence(run, runs):
    assert run(runs / "vae", "--samples", "0")[::2] == (2, "aeflax: --samples 0 is too few; draw at least one\n")
    code, _, err = run(runs / "vae", "--split", "validation")
    assert code == 2
    assert "withhold one with --data.validation N" in err
