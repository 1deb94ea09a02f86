"""An export computes what the model computes, in foreign hands; what does not is not exported."""

import hashlib
import importlib
import json
from dataclasses import replace

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
from jax import export as jax_export
from safetensors.numpy import load_file
from variants import PRESETS, experiment, images

import aeflax
from aeflax.config import GaussianLikelihood
from aeflax.errors import ConfigError
from aeflax.export import onnx as onnx_export
from aeflax.export import stablehlo
from aeflax.export.check import ExportError
from aeflax.storage.document import read_json, write_json

DATA = images(60)
# Of the largest output, as an export promises of itself.
TOLERANCE = 1e-5
# `lax.platform_dependent` takes long to lower for three platforms: `make check` leaves it to `make test`.
FORMS = [
    *(("onnx", variant) for variant in (*PRESETS, "top-k", "jump-relu", "dictionary", "denoising-conv-vae")),
    *(("stablehlo", variant) for variant in ("vanilla", "vae", "batch-top-k")),
    pytest.param("stablehlo", "conv", marks=pytest.mark.slow),
]


def trained(settings, data=DATA):
    return aeflax.train(settings, data, report=False)


def foreign(folder, name):
    """An exported function, by what reads it: no code of aeflax'."""
    told = json.loads((folder / "manifest.json").read_text())
    if told["format"] == "onnx":
        session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        return lambda array: session.run(None, {given.name: array})[0]
    call = jax_export.deserialize(bytearray((folder / f"{name}.stablehlo").read_bytes())).call
    return lambda array: np.asarray(call(array))


def close(found, expected):
    assert found.shape == expected.shape
    assert np.max(np.abs(found - expected)) <= TOLERANCE * max(1.0, np.max(np.abs(expected)))


@pytest.mark.slow
@pytest.mark.parametrize(("form", "variant"), FORMS)
def test_what_is_exported_computes_what_the_model_does(form, variant, tmp_path):
    run = trained(experiment(variant))
    folder = run.export(form, tmp_path / "out")
    encoder, decoder, whole = (foreign(folder, name) for name in ("encoder", "decoder", "autoencoder"))
    for size in (1, 64):
        examples = images(size, seed=7)
        codes = encoder(examples.astype(np.float32))
        close(codes, run.encode(examples))
        close(decoder(codes), run.decode(codes))
        close(whole(examples.astype(np.float32)), run.reconstruct(examples))
    told = json.loads((folder / "manifest.json").read_text())
    assert 0 < told["checked"]["largest_difference"] <= TOLERANCE
    for name, file in told["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == file["sha256"]
    assert told["files"][f"encoder.{form}"]["input"]["range"] == [0, 255]
    about = {
        "columns": None,
        "fill": None,
        "shape": [*DATA.shape[1:3], 1],
        "dtype": "uint8",
        "unit_range": True,
        "usual": None,
    }
    assert told["inputs"] == about | {"shift": [0], "divisor": [255]}
    size = {name: (folder / f"{name}.{form}").stat().st_size for name in ("encoder", "decoder", "autoencoder")}
    assert size["encoder"] < 0.8 * size["autoencoder"]  # the weights of each are its own


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["elu", "gelu", "silu"])
def test_activations_and_normalizations_are_known_to_onnx(activation, tmp_path):
    settings = experiment("conv")
    kind = "layer" if activation == "elu" else "group"
    backbone = replace(settings.model.backbone, activation=activation, normalization=kind)
    run = trained(replace(settings, model=replace(settings.model, backbone=backbone)))
    folder = run.export("onnx", tmp_path)
    close(foreign(folder, "encoder")(DATA.astype(np.float32)), run.encode(DATA))


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [1, 3, 4])
def test_pooling_and_transposed_convolutions_are_known_to_onnx(kernel, tmp_path):
    settings = experiment("conv")
    backbone = replace(settings.model.backbone, down="max-pool", up="transposed", kernel=kernel)
    run = trained(replace(settings, model=replace(settings.model, backbone=backbone)))
    folder = run.export("onnx", tmp_path)
    examples = DATA.astype(np.float32)
    close(foreign(folder, "encoder")(examples), run.encode(DATA))
    close(foreign(folder, "autoencoder")(examples), run.reconstruct(DATA))


@pytest.mark.slow
def test_scaling_and_missing_values_are_inside(tmp_path):
    rows = np.random.RandomState(0).randn(60, 5).astype(np.float32) * 3 + 2
    rows[::7, 1] = np.nan
    settings = experiment("vanilla")
    settings = replace(
        settings,
        data=replace(settings.data, scale="standard", impute="mean"),
        model=replace(settings.model, latent_dim=2, likelihood=GaussianLikelihood(scale=None)),
    )
    run = trained(settings, rows)
    for form in ("onnx", "stablehlo"):
        folder = run.export(form, tmp_path / form)
        close(foreign(folder, "encoder")(rows), run.encode(rows))
        close(foreign(folder, "autoencoder")(rows), run.reconstruct(rows))
    weights = load_file(run.export("safetensors", tmp_path / "safetensors") / "model.safetensors")
    filled = np.where(np.isnan(rows), weights["inputs.fill"], rows)
    scaled = (filled - weights["inputs.shift"]) / weights["inputs.divisor"]
    np.testing.assert_allclose(
        scaled, run.inference.scaled(run._given.inputs(rows).at(np.arange(len(rows)))), rtol=1e-6
    )


@pytest.mark.slow
def test_averaged_parameters_are_exported(tmp_path):
    settings = experiment("vanilla")
    run = trained(replace(settings, optimizer=replace(settings.optimizer, ema=0.5)))
    found = load_file(run.export("safetensors", tmp_path) / "model.safetensors")
    np.testing.assert_array_equal(found["bottleneck.code.kernel"], run.state.ema["bottleneck"]["code"]["kernel"])
    assert not np.array_equal(found["bottleneck.code.kernel"], run.state.params["bottleneck"]["code"]["kernel"])


@pytest.mark.slow
def test_an_export_that_has_changed_is_not_sound(tmp_path):
    run = aeflax.train(experiment("vanilla", steps=2), DATA, run_dir=tmp_path / "run", report=False)
    place = run.export("safetensors")
    audit = aeflax.verify(tmp_path / "run")
    assert (audit.sound, audit.files["export/safetensors"]) == (True, [])
    weights = next(path for path in place.iterdir() if path.suffix == ".safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    (fault,) = aeflax.verify(tmp_path / "run").files["export/safetensors"]
    assert f"{weights} is not what was written to it; export the run again" in fault
    weights.unlink()
    assert not aeflax.verify(tmp_path / "run").sound
    (place / "manifest.json").write_text("{")
    assert "cannot be read" in aeflax.verify(tmp_path / "run").files["export/safetensors"][0]


@pytest.mark.slow
def test_safetensors_hold_every_number_by_its_name(tmp_path):
    run = trained(experiment("batch-top-k"))
    found = load_file(run.export("safetensors", tmp_path) / "model.safetensors")
    leaves = jax.tree.leaves(jax.device_get((run.state.params, run.state.model)))
    assert found.pop("inputs.shift") == [0]
    assert found.pop("inputs.divisor") == [255]
    assert sum(leaf.size for leaf in found.values()) == sum(leaf.size for leaf in leaves)
    assert {name.split(".")[0] for name in found} == {"bottleneck", "decoder", "model"}
    told = json.loads((tmp_path / "manifest.json").read_text())
    assert told["experiment"]["model"]["bottleneck"]["kind"] == "batch-top-k"
    assert told["state_sha256"] == run.summary["state_sha256"]


@pytest.mark.slow
@pytest.mark.parametrize(("form", "module"), [("onnx", onnx_export), ("stablehlo", stablehlo)])
def test_what_computes_something_else_is_not_exported(form, module, tmp_path, monkeypatch):
    run, honest = trained(experiment("vanilla")), module.runnable
    monkeypatch.setattr(module, "runnable", lambda blob: lambda array: honest(blob)(array) + np.float32(1e-2))
    with pytest.raises(ExportError, match="differs from the model"):
        run.export(form, tmp_path / "out")
    monkeypatch.setattr(module, "runnable", lambda blob: lambda array: honest(blob)(array) * np.float32(np.nan))
    with pytest.raises(ExportError, match="differs from the model"):
        run.export(form, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_operation_that_is_not_known_is_refused_by_name(tmp_path, monkeypatch):
    run = trained(experiment("vae"))
    monkeypatch.delitem(onnx_export.RULES, "tanh")
    with pytest.raises(ConfigError, match="does not know tanh; choose --format stablehlo"):
        run.export("onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bfloat16_is_refused(tmp_path):
    settings = experiment("vanilla")
    run = trained(replace(settings, train=replace(settings.train, precision="bfloat16")))
    with pytest.raises(ConfigError, match="bfloat16"):
        run.export("onnx", tmp_path)


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    imported = importlib.import_module

    def absent(name, *more):
        if name == "onnxruntime":
            raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")
        return imported(name, *more)

    run = trained(experiment("vanilla"))
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ConfigError, match=r"pip install 'aeflax\[onnx\]'"):
        run.export("onnx", tmp_path)


def test_a_run_that_is_kept_nowhere_needs_a_place():
    run = trained(experiment("vanilla"))
    with pytest.raises(ConfigError, match="name a directory"):
        run.export("stablehlo")
    with pytest.raises(ConfigError, match="choose stablehlo, safetensors, onnx"):
        run.export("tflite", "out")


@pytest.mark.slow
def test_constants_are_kept_once(tmp_path):
    """A graph holds the weights, and not what is computed from them alone."""
    run = trained(experiment("top-k"))
    folder = run.export("onnx", tmp_path)
    graph = onnx.load(folder / "autoencoder.onnx").graph
    sizes = sum(int(np.prod(constant.dims)) for constant in graph.initializer)
    weights = sum(leaf.size for leaf in jax.tree.leaves(run.state.params))
    assert sizes < weights + 40 * len(graph.node)
    assert {node.op_type for node in graph.node} >= {"TopK", "MatMul"}


@pytest.mark.slow
def test_the_command_exports_into_the_run(run, tmp_path):
    code, _, _ = run("train", "vanilla", "--train.steps", "10", "--run-dir", "kept", "--no-report")
    assert code == 0
    code, out, _ = run("export", "kept", "--format", "onnx", "--json")
    assert code == 0
    assert json.loads(out)["files"].keys() == {"encoder.onnx", "decoder.onnx", "autoencoder.onnx"}
    assert (tmp_path / "kept" / "export" / "onnx" / "decoder.onnx").exists()
    code, out, err = run("export", "kept", "--out", "there", "--format", "safetensors")
    assert code == 0
    assert "model.safetensors" in out
    assert "is not finished" not in err
    (tmp_path / "kept" / "summary.json").unlink()  # as if it had been stopped a step before
    manifest = read_json(tmp_path / "kept" / "experiment.json")
    manifest["resolved"]["train"]["steps"] = 11
    write_json(tmp_path / "kept" / "experiment.json", manifest)
    code, out, err = run("export", "kept", "--out", "there", "--format", "safetensors")
    assert (code, "kept is not finished: this is its step 10 of 11" in err) == (0, True)
    code, _, errors = run("export", "kept", "--out", "kept/experiment.json")
    assert code == 2
    assert "is a file" in errors
    code, _, errors = run("export", "nowhere")
    assert code == 2


@pytest.mark.slow
def test_an_export_is_audited_wherever_it_lies(tmp_path):
    """Its manifest tells of itself, too: a scaling that was edited would be the consumer's."""
    run = trained(experiment("vanilla"))
    folder = run.export("safetensors", tmp_path / "shipped")
    audit = aeflax.verify(folder)
    assert audit.sound
    assert (audit.files, audit.exported) == ({str(folder): []}, {str(folder): run.step})
    told = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(told | {"step": told["step"] + 1}))
    assert not aeflax.verify(folder).sound
    assert "export the run again" in aeflax.verify(folder).files[str(folder)][0]
    run.export("safetensors", folder)  # which is that mend
    assert aeflax.verify(folder).sound


@pytest.mark.slow
def test_a_folder_holds_one_form_alone(tmp_path):
    run = trained(experiment("vanilla"))
    run.export("safetensors", tmp_path)
    with pytest.raises(ConfigError, match="holds an export as safetensors, and one manifest; choose another folder"):
        run.export("stablehlo", tmp_path)
    run.export("safetensors", tmp_path)


@pytest.mark.slow
def test_an_exported_table_model_gives_the_score_that_detect_gives(tmp_path):
    rows = np.random.RandomState(0).randn(60, 5).astype(np.float32) * 3 + 2
    settings = experiment("vanilla")
    settings = replace(
        settings,
        data=replace(settings.data, scale="standard"),
        model=replace(settings.model, latent_dim=2, likelihood=GaussianLikelihood()),
    )
    run = trained(settings, rows)
    folder = run.export("onnx", tmp_path)
    told = json.loads((folder / "manifest.json").read_text())["inputs"]
    errors = ((foreign(folder, "autoencoder")(rows) - rows) / np.array(told["divisor"])) ** 2
    # As close as the exported reconstructions are.
    np.testing.assert_allclose(
        np.mean(errors / told["usual"], axis=1), run.detect(rows, baselines=False).scores, rtol=1e-4
    )
