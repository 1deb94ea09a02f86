"""`aeflax compress` and `aeflax decompress`: what they write, print and keep, and what they answer to mistakes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import aeflax
from aeflax import presets
from aeflax.applications import codecs
from aeflax.applications.compression import container, rates
from aeflax.config import Data, GaussianLikelihood, Train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A vae of digits, the same trained otherwise, and a vanilla model of a table, kept."""
    place = tmp_path_factory.mktemp("runs")
    vae = replace(presets.vae(4), train=Train(steps=200))
    aeflax.train(vae, run_dir=place / "vae", report=False)
    aeflax.train(replace(vae, train=Train(steps=20)), run_dir=place / "other", report=False)
    table = np.random.RandomState(0).normal(5, 2, size=(60, 3))
    (place / "table.csv").write_text("a,b,c\n" + "\n".join(",".join(map(str, row)) for row in table) + "\n")
    base = presets.vanilla(1)
    model = replace(base.model, likelihood=GaussianLikelihood())
    data = Data(source=f"csv:{place / 'table.csv'}", scale="standard")
    aeflax.train(replace(base, data=data, model=model, train=Train(steps=20)), run_dir=place / "table", report=False)
    return place


@pytest.mark.slow
def test_what_was_compressed_comes_back(run, runs):
    code, out, err = run("compress", runs / "vae", "digits", "x.aez", "--step-size", "0.01")
    assert code == 0, err
    assert "1,797 examples in x.aez: " in out
    assert "labels are not kept in a container" in out
    assert run("decompress", runs / "vae", "x.aez", "x.npy")[0] == 0
    assert run("reconstruct", runs / "vae", "digits", "y.npy")[0] == 0
    back, expected = np.load("x.npy"), np.load("y.npy")
    assert (back.shape, back.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(back, expected, atol=0.3)  # of 16, for codes that are 0.005 off
    assert np.abs(back - expected).max() > 0
    assert Path("x.aez").stat().st_size < 1797 * 64 / 8


def test_every_format_of_reconstructions_is_written(run, runs):
    run("compress", runs / "vae", "digits", "x.aez")
    for suffix in (".npy", ".npz", ".csv", ".parquet", ".png"):
        code, out, err = run("decompress", runs / "vae", "x.aez", f"x{suffix}")
        assert (code, out) == (0, ""), err
        assert f"reconstructions in x{suffix}" in err
    with Image.open("x.png") as shown:
        assert shown.size == (89, 89)  # 10 by 10 of 8, and lines between them


@pytest.mark.slow
def test_json_is_all_of_standard_output(run, runs):
    code, out, err = run("compress", runs / "vae", "digits", "x.aez", "--split", "test", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["step"] == 200
    assert found["examples"] == 359
    assert found["bytes"] == Path("x.aez").stat().st_size
    assert found["bits_per_pixel"] == pytest.approx(8 * found["bytes"] / (359 * 64))
    assert 0 <= found["unquantised_psnr"] - found["psnr"] <= 0.1
    assert container.read(Path("x.aez")).header.payload_bytes == found["payload_bytes"]


def test_a_quality_can_be_asked_for(run, runs):
    most = json.loads(run("compress", runs / "vae", "digits", "x.aez", "--json")[1])["unquantised_psnr"]
    found = json.loads(run("compress", runs / "vae", "digits", "x.aez", "--psnr", most - 0.5, "--json")[1])
    assert most - 0.5 <= found["psnr"] < most


def test_a_table_comes_back_in_its_units(run, runs):
    assert run("compress", runs / "table", runs / "table.csv", "x.aez")[0] == 0
    assert run("decompress", runs / "table", "x.aez", "x.npy")[0] == 0
    back = np.load("x.npy")
    assert back.shape == (60, 3)
    assert 3 < back.mean() < 7
    assert run("decompress", runs / "table", "x.aez", "t.csv")[0] == 0
    assert Path("t.csv").read_text().splitlines()[0] == "a,b,c"


@pytest.mark.slow
def test_the_judgement_is_printed_kept_and_reported(run, runs, monkeypatch):
    monkeypatch.setattr(codecs, "LOSSY", tuple(replace(codec, qualities=(5, 90)) for codec in codecs.LOSSY))
    monkeypatch.setattr(rates, "MAX_VALUES", 30 * 64)
    code, out, err = run("compress", runs / "vae", "digits", "x.aez", "--judge")
    assert code == 0, err
    assert "JPEG, one sheet" in out
    assert "the codecs win" in out
    kept = json.loads((runs / "vae" / "applications" / "compression.json").read_text())
    assert kept["examples"] == 30
    assert run("report", runs / "vae")[0] == 0
    assert ">Compression</h2>" in (runs / "vae" / "report.html").read_text()
    assert (runs / "vae" / "figures" / "compression.png").exists()


def test_damage_is_told_in_one_sentence(run, runs):
    run("compress", runs / "vae", "digits", "x.aez")
    data = Path("x.aez").read_bytes()
    for place in range(0, len(data), len(data) // 7):
        Path("y.aez").write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        Path("z.aez").write_bytes(data[:place])
        for name in ("y.aez", "z.aez"):
            code, out, err = run("decompress", runs / "vae", name, "x.npy")
            assert (code, out, len(err.splitlines())) == (5, "", 1)
            assert name in err
    assert not Path("x.npy").exists()


def test_a_container_of_another_model_is_refused(run, runs):
    run("compress", runs / "vae", "digits", "x.aez")
    code, out, err = run("decompress", runs / "other", "x.aez", "x.npy")
    assert (code, out, len(err.splitlines())) == (5, "", 1)
    for name in ("vae", "other"):
        assert json.loads((runs / name / "summary.json").read_text())["state_sha256"] in err
    assert not Path("x.npy").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected", "message"),
    [
        (("compress", "vae", "digits", "x.npy"), 2, "x.npy has the suffix .npy, which is not written; end it in .aez"),
        (("compress", "vae", "digits", "none/x.aez"), 2, "none is no folder"),
        (("compress", "vae", "digits", "x.aez", "--step-size", "0"), 2, "--step-size 0 cannot be"),
        (("compress", "vae", "digits", "x.aez", "--psnr", "nan"), 2, "--psnr nan cannot be"),
        (("compress", "vae", "digits", "x.aez", "--psnr", "9", "--step-size", "1"), 2, "exclude each other"),
        (("compress", "vae", "digits", "x.aez", "--psnr", "90"), 2, "a PSNR of 90 dB is beyond this model"),
        (("compress", "vae", "digits", "x.aez", "--step-size", "1e-12"), 2, "too small for these codes"),
        (("compress", "table", "RUNS/table.csv", "x.aez", "--psnr", "9"), 2, "needs data in [0, 1]"),
        (("compress", "table", "RUNS/table.csv", "x.aez", "--judge"), 2, "this run's data are vectors of 3 values"),
        (("compress", "table", "digits", "x.aez"), 5, "this model was trained on [3]"),
        (("compress", "none", "digits", "x.aez"), 2, "none"),
        (("decompress", "vae", "none.aez", "x.npy"), 5, "cannot read none.aez: it is no file"),
        (("decompress", "vae", "text.aez", "x.npy"), 5, "text.aez is no container of compressed codes"),
        (("decompress", "vae", "text.aez", "x.aez"), 2, "which is not written"),
        (("decompress", "table", "table.aez", "x.png"), 2, "shows images, and these are vectors of 3 values"),
    ],
)
def test_mistakes_are_answered_in_one_sentence(run, runs, tmp_path, words, expected, message):
    (tmp_path / "text.aez").write_text("label,a\n")
    run("compress", runs / "table", runs / "table.csv", "table.aez")
    name, place, *rest = words
    code, out, err = run(name, runs / place, *(word.replace("RUNS", str(runs)) for word in rest))
    assert (code, out) == (expected, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "x.aez").exists()
    assert not (tmp_path / "x.npy").exists()


@pytest.mark.slow
def test_containers_are_looked_over_without_jax():
    code = (
        "import sys; from aeflax.cli import compress; sys.exit(any(n in sys.modules for n in ('jax', 'constriction')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
