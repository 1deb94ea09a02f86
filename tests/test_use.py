"""The commands that use a kept run: what they write, and what they answer to mistakes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import aeflax
from aeflax import presets
from aeflax.config import Data, GaussianLikelihood, Train
from aeflax.data import tables

DIGITS = Data(source="digits", validation=100)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A vae on digits, and a vanilla model of vectors, kept."""
    place = tmp_path_factory.mktemp("runs")
    vae = replace(presets.vae(4), data=DIGITS, train=Train(steps=40, eval_every=20, checkpoint_every=40))
    aeflax.train(vae, run_dir=place / "vae", report=False)
    vectors = replace(presets.vanilla(2), data=Data(source=f"npy:{place / 'table.npy'}"), train=Train(steps=20))
    vectors = replace(vectors, model=replace(vectors.model, likelihood=GaussianLikelihood()))
    np.save(place / "table.npy", np.random.RandomState(0).normal(size=(50, 5)).astype(np.float32))
    aeflax.train(vectors, run_dir=place / "vectors", report=False)
    return place


@pytest.mark.slow
def test_encode_writes_codes_and_labels(run, runs):
    model = aeflax.load(runs / "vae")
    code, out, err = run("encode", runs / "vae", "digits", "codes.npz", "--split", "test")
    assert (code, out) == (0, "")
    assert "359 codes in codes.npz" in err
    test = model.split("test")
    with np.load("codes.npz") as found:
        np.testing.assert_array_equal(found["code"], model.encode(test.values))
        np.testing.assert_array_equal(found["label"], test.labels)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("encode", "vae", "digits", "codes.npz", "--split", "test"), {"out": "codes.npz", "written": 359}),
        (("reconstruct", "vectors", "table.npy", "out.csv"), {"out": "out.csv", "written": 50}),
        (("interpolate", "vae", "digits", "way.png", "--between", "0", "1"), {"out": "way.png", "written": 1}),
        (("sample", "vae", "drawn.npy", "--count", "3"), {"count": 3, "out": "drawn.npy", "written": 3}),
        (("compress", "vae", "digits", "digits.aez"), {"out": "digits.aez", "examples": 1797}),
        (("decompress", "vae", "digits.aez", "back.npy"), {"out": "back.npy", "written": 1797}),
        (("report", "vectors", "--out", "page"), {"report": "page/report.html"}),
    ],
)
def test_what_is_written_is_told_as_json(run, runs, words, told):
    command, name, *rest = words
    if command == "decompress":
        run("compress", runs / name, "digits", "digits.aez")
    rest = [runs / word if word == "table.npy" else word for word in rest]
    code, out, err = run(command, runs / name, *rest, "--json")
    assert code == 0, err
    assert json.loads(out).items() >= ({"status": "done", "step": 20 if name == "vectors" else 40} | told).items()


def test_encode_takes_every_kind_of_file(run, runs):
    model = aeflax.load(runs / "vectors")
    table = np.load(runs / "table.npy")
    np.savez("table.npz", a=table, b=table[:3])
    np.savetxt("table.csv", table, delimiter=",")
    for name in (str(runs / "table.npy"), "table.npz#a", "table.csv", f"npy:{runs / 'table.npy'}"):
        assert run("encode", runs / "vectors", name, "codes.npy")[0] == 0, name
        np.testing.assert_allclose(np.load("codes.npy"), model.encode(table), rtol=1e-5)


@pytest.mark.slow
def test_images_are_resized_and_made_grey_as_the_run_has_them(run, tmp_path):
    for index in range(20):
        Image.fromarray(np.full((9 + index, 12, 3), index, np.uint8)).save(tmp_path / f"{index:02d}.png")
    source = f"images:{tmp_path}"
    seen = replace(presets.vanilla(2), data=Data(source=source, size=4, grey=True, resident=True), train=Train(steps=2))
    model = aeflax.train(seen, run_dir=tmp_path / "seen", report=False)
    for split in ("all", "test"):
        assert run("encode", tmp_path / "seen", source, "codes.npy", "--split", split)[0] == 0, split
    np.testing.assert_allclose(np.load("codes.npy"), model.encode(model.split("test").values), rtol=1e-5)
    assert run("reconstruct", tmp_path / "seen", source, "back.npy")[0] == 0
    assert np.load("back.npy").shape == (20, 4, 4, 1)


@pytest.mark.slow
def test_colour_files_of_grey_pictures_suit_a_run_of_one_channel(run, tmp_path):
    grey = np.random.RandomState(0).randint(0, 256, (20, 5, 4), np.uint8)
    np.save(tmp_path / "grey.npy", grey)
    (tmp_path / "colour").mkdir()
    for index, image in enumerate(grey):
        Image.fromarray(image).convert("RGB").save(tmp_path / "colour" / f"{index:02d}.png")
    settings = replace(presets.vanilla(2), data=Data(source=f"npy:{tmp_path / 'grey.npy'}"), train=Train(steps=2))
    model = aeflax.train(settings, run_dir=tmp_path / "seen", report=False)
    assert run("encode", tmp_path / "seen", f"images:{tmp_path / 'colour'}", "codes.npy")[0] == 0
    np.testing.assert_array_equal(np.load("codes.npy"), model.encode(grey))


@pytest.mark.slow
def test_a_table_s_columns_are_left_out_wherever_the_run_is_used(run, tmp_path):
    rows = np.random.RandomState(0).normal(size=(30, 3)).round(4)
    lines = [f"A{index},{x},{y},{z}" for index, (x, y, z) in enumerate(rows)]
    (tmp_path / "table.csv").write_text("\n".join(["id,x,y,z", *lines]))
    (tmp_path / "new.csv").write_text("\n".join(["x,y,z", *(line.split(",", 1)[1] for line in lines)]))
    words = ("--data.source", f"csv:{tmp_path / 'table.csv'}", "--data.scale", "standard", "--train.steps", "3")
    words += ("--model.likelihood", "gaussian", "--model.latent-dim", "2", "--no-report", "--run-dir", "kept")
    code, _, err = run("train", "vanilla", *words)
    assert code == 5
    assert "column 1 ('id') is 'A0', not a number; take it out of the file, or train with --data.drop id" in err
    assert run("train", "vanilla", *words, "--data.drop", "id", "ID")[2].endswith(
        "has no column 'ID', which data.drop names; it has id, x, y, z\n"
    )
    assert run("train", "vanilla", *words, "--data.drop", "id")[0] == 0
    codes = []
    for name, split in (("table.csv", "all"), ("new.csv", "all"), (words[1], "train")):
        code, _, err = run("encode", "kept", name, "codes.npy", "--split", split)
        assert (code, "column" in err) == (0, False), err
        codes.append(np.load("codes.npy"))
    np.testing.assert_array_equal(codes[0], codes[1])
    assert codes[2].shape == (24, 2)
    assert json.loads(Path("kept/experiment.json").read_text())["inputs"]["columns"] == ["x", "y", "z"]


@pytest.mark.slow
def test_what_is_filled_is_told(run, tmp_path):
    (tmp_path / "gaps.csv").write_text("x,y\n" + "".join(f"{'' if index < 9 else index},1\n" for index in range(20)))
    words = ("--data.source", "csv:gaps.csv", "--data.impute", "mean", "--data.scale", "standard", "--train.steps", "2")
    words += ("--model.likelihood", "gaussian", "--model.latent-dim", "1", "--no-report", "--run-dir", "kept")
    code, _, err = run("train", "vanilla", *words)
    assert (code, "in training 8 of 32 values are missing and filled: 8 of x" in err) == (0, True), err
    code, _, err = run("encode", "kept", "gaps.csv", "codes.npy")
    assert (code, "gaps.csv: 9 of 40 values are missing and filled: 9 of x" in err) == (0, True), err


@pytest.mark.slow
def test_csv_codes_are_read_back_with_their_labels(run, runs):
    run("encode", runs / "vae", "digits", "codes.csv")
    codes, labels = tables.read(Path("codes.csv"))
    assert codes.shape == (1797, 4)
    assert labels.max() == 9


@pytest.mark.slow
def test_reconstruct_keeps_shape_and_units(run, runs):
    assert run("reconstruct", runs / "vae", "digits", "back.npy", "--split", "test")[0] == 0
    model = aeflax.load(runs / "vae")
    np.testing.assert_allclose(np.load("back.npy"), model.reconstruct(model.split("test").values), rtol=1e-5)
    assert np.load("back.npy").max() > 1.5  # digits reach to 16


def test_pictures_show_the_first_hundred_images(run, runs):
    for words in (
        ("reconstruct", runs / "vae", "digits", "a.png"),
        ("sample", runs / "vae", "a.png", "--count", "100"),
    ):
        assert run(*words)[0] == 0
        with Image.open("a.png") as picture:
            assert min(picture.size) >= 80  # ten by ten images of eight pixels
            assert len(picture.getcolors(10**6) or []) > 10


def test_sample_draws_as_python_does(run, runs):
    assert run("sample", runs / "vae", "drawn.npy", "--count", "9", "--seed", "5")[0] == 0
    np.testing.assert_allclose(np.load("drawn.npy"), aeflax.load(runs / "vae").sample(9, seed=5), rtol=1e-5)


def test_commands_take_a_step(run, runs):
    best = json.loads((runs / "vae" / "summary.json").read_text())["best"]
    code, out, _ = run("evaluate", runs / "vae", "--step", "best", "--split", "validation", "--json")
    found = json.loads(out)
    assert (code, found["step"]) == (0, best["step"])
    assert found["elbo"] == best["value"]
    assert run("encode", runs / "vae", "digits", "a.npy", "--step", str(best["step"]))[0] == 0
    code, _, err = run("encode", runs / "vae", "digits", "a.npy", "--step", "39")
    assert (code, "holds no checkpoint of step 39" in err) == (2, True)


def test_json_is_all_of_standard_output(run, runs):
    _, out, err = run("evaluate", runs / "vae", "--json")
    assert json.loads(out)["split"] == "test"
    assert "elbo" in err


def test_parquet_has_the_columns_of_csv_in_their_own_types(run, runs):
    from pyarrow import parquet

    for suffix in ("csv", "parquet"):
        assert run("encode", runs / "vae", "digits", f"codes.{suffix}")[0] == 0
    table = parquet.read_table("codes.parquet")
    assert table.column_names == Path("codes.csv").read_text().split("\n", 1)[0].split(",")
    assert [str(field.type) for field in table.schema][-2:] == ["float", "int64"]
    values, known = tables.read(Path("codes.csv"))
    found = np.stack(table.columns[:-1], axis=1).astype(np.float32)
    np.testing.assert_array_equal(found, values.astype(np.float32))
    np.testing.assert_array_equal(table["label"], known)


def test_parquet_without_its_library_says_how_to_get_it(run, runs, monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = run("encode", runs / "vae", "digits", "codes.parquet")
    assert code == 2
    assert "pip install 'aeflax[parquet]'" in err
    assert list(tmp_path.iterdir()) == []


def test_the_projector_reads_its_files(run, runs, tmp_path):
    """By TensorBoard's own definition of the configuration."""
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    words = ("encode", runs / "vae", "digits", "codes.npz", "--split", "test", "--projector", tmp_path / "p" / "q")
    code, _, err = run(*words)
    assert code == 0
    assert "tensorboard --logdir" in err
    (entry,) = text_format.Parse((tmp_path / "p/q/projector_config.pbtxt").read_text(), ProjectorConfig()).embeddings
    folder = tmp_path / "p" / "q"
    with np.load("codes.npz") as found:
        np.testing.assert_allclose(np.loadtxt(folder / entry.tensor_path), found["code"], rtol=1e-6)
        np.testing.assert_array_equal(np.loadtxt(folder / entry.metadata_path, int), found["label"])
    assert list(entry.sprite.single_image_dim) == [8, 8]
    sprite = np.asarray(Image.open(folder / entry.sprite.image_path))
    assert sprite.shape == (8 * 19, 8 * 19)  # 359 images
    shown = aeflax.load(runs / "vae").split("test").values[20].reshape(8, 8)
    np.testing.assert_array_equal(sprite[8:16, 8:16], np.rint(255 * (shown / np.float32(16))))


def test_vectors_have_no_sprite(run, runs, tmp_path):
    assert run("encode", runs / "vectors", runs / "table.npy", "codes.npy", "--projector", tmp_path / "p")[0] == 0
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == [
        "metadata.tsv",
        "projector_config.pbtxt",
        "tensors.tsv",
    ]
    assert run("encode", runs / "vectors", runs / "table.npy", "b.npy", "--projector", "codes.npy")[0] == 2


@pytest.mark.parametrize(
    ("words", "expected", "message"),
    [
        (("encode", "RUNS/vae", "none.npy", "a.npy"), 5, "cannot read none.npy"),
        (("encode", "RUNS/vae", "digits", "a.txt"), 2, "end it in .npy, .npz, .csv or .parquet"),
        (("encode", "RUNS/vae", "digits", "a.png"), 2, "codes are no pictures"),
        (("encode", "RUNS/vae", "digits", "no/where.npy"), 2, "mkdir -p no"),
        (("encode", "RUNS/none", "digits", "a.npy"), 2, "holds no run"),
        (("encode", "RUNS", "digits", "a.npy"), 2, "did you mean"),
        (("encode", "RUNS/vae", "RUNS/table.npy", "a.npy"), 5, "this model was trained on [8, 8, 1]"),
        (("reconstruct", "RUNS/vectors", "RUNS/table.npy", "RUNS/table.npy"), 2, "is the file that is read"),
        (("reconstruct", "RUNS/vectors", "RUNS/table.npy", "a.png"), 2, "images"),
        (("sample", "RUNS/vectors", "a.npy"), 2, "needs a model with a prior"),
        (("sample", "RUNS/vae", "a.npy", "--count", "0"), 2, "--count 0 is too few"),
        (("sample", "RUNS/vae", "a.npy", "--seed", "-1"), 2, "--seed -1 lies outside"),
        (("encode", "RUNS/vae", "mnist", "a.npy", "--split", "validation"), 2, "brings no validation split"),
        (("evaluate", "RUNS/vae", "--step", "worst"), 2, ""),
    ],
)
def test_mistakes_get_one_sentence_and_leave_nothing(run, runs, words, expected, message, tmp_path):
    code, out, err = run(*(word.replace("RUNS", str(runs)) for word in words))
    assert (code, out) == (expected, "")
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_used_without_its_data(run, runs, tmp_path):
    table = np.load(runs / "table.npy")
    np.save("other.npy", table)
    moved = runs / "table.npy"
    moved.rename(runs / "away.npy")
    try:
        assert run("encode", runs / "vectors", "other.npy", "codes.npy")[0] == 0
        code, _, err = run("evaluate", runs / "vectors")
        assert (code, "cannot read" in err) == (5, True)
    finally:
        (runs / "away.npy").rename(moved)


@pytest.mark.slow
def test_columns_are_found_by_their_names(run, tmp_path):
    """In any order, beside others; by their places where all names are other ones, and never a few of them."""
    rows = np.random.RandomState(0).rand(60, 3)
    for name, header, order in (
        ("train", "a,b,c", [0, 1, 2]),
        ("turned", "c,b,a", [2, 1, 0]),
        ("other", "a,b,d", [0, 1, 2]),
        ("foreign", "x,y,z", [0, 1, 2]),
        ("more", "id,a,b,c", [0, 0, 1, 2]),
        ("less", "a,c", [0, 2]),
    ):
        np.savetxt(tmp_path / f"{name}.csv", rows[:, order], delimiter=",", header=header, comments="")
    kept = tmp_path / "run"
    words = ("--data.source", f"csv:{tmp_path / 'train.csv'}", "--train.steps", 5, "--no-report", "--run-dir", kept)
    assert run("train", "vanilla", *words)[0] == 0
    assert run("encode", kept, tmp_path / "train.csv", tmp_path / "codes.npy")[0] == 0
    codes = np.load(tmp_path / "codes.npy")
    said = f"{tmp_path / 'more.csv'}: the run was not trained on 'id', and leaves it out"
    for name, warned in (("turned", False), ("more", True)):
        code, _, errors = run("encode", kept, tmp_path / f"{name}.csv", tmp_path / "codes.npy")
        assert (code, said in errors) == (0, warned)
        np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), codes)
    code, _, errors = run("encode", kept, tmp_path / "less.csv", tmp_path / "codes.npy")
    assert (code, f"{tmp_path / 'less.csv'} lacks 'b' of the training data; add the column" in errors) == (5, True)
    code, _, errors = run("encode", kept, tmp_path / "other.csv", tmp_path / "codes.npy")
    said = "lacks 'c' of the training data; add the column, or rename it if it is among 'd'"
    assert (code, said in errors) == (5, True)
    code, _, errors = run("encode", kept, tmp_path / "foreign.csv", tmp_path / "codes.npy")
    assert (code, "has none of the training data's names (a, b, c): its columns are taken in their" in errors) == (
        0,
        True,
    )
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), codes)
    (tmp_path / "twice.csv").write_text("a,b,c,a\n1,2,3,4\n")
    code, _, errors = run("encode", kept, tmp_path / "twice.csv", tmp_path / "codes.npy")
    assert (code, "has several columns 'a'; give each a name of its own" in errors) == (5, True)
    code, _, errors = run("train", "vanilla", "--data.source", f"csv:{tmp_path / 'twice.csv'}", "--no-report")
    assert (code, "has several columns 'a'; give each a name of its own" in errors) == (5, True)
