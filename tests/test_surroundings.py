"""`aeflax doctor` and `aeflax --version`: what is found is what is there, and a problem comes with its mend."""

import json
import shutil
from importlib.metadata import PackageNotFoundError

import jax
import pytest

from aeflax import surroundings


def found(name):
    return next(one for one in surroundings.findings() if one.name == name)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("AEFLAX_DATA_DIR", "JAX_PLATFORMS", "TPU_NAME"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_there_is_fine(tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    monkeypatch.setenv("AEFLAX_DATA_DIR", str(tmp_path))
    told = {one.name: one for one in surroundings.findings()}
    assert told["jax"].value == jax.__version__
    assert told["devices"].value == "4 × cpu"
    assert told["a product"].state == "fine"
    assert told["AEFLAX_DATA_DIR"].value == f"{tmp_path}: mnist"
    assert all(one.mend for one in told.values() if one.state == "problem")


def test_a_missing_package_is_a_problem_and_a_missing_extra_is_none(monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(surroundings, "version", version)
    assert found("flax").mend == "pip install flax"
    assert (found("flax").state, found("extra onnx").state) == ("problem", "absent")
    assert found("extra onnx").mend == "pip install 'aeflax[onnx]'"


def test_a_gpu_that_jax_does_not_use_is_a_problem(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert found("NVIDIA GPU").state == "problem"
    assert found("NVIDIA GPU").mend == "pip install 'aeflax[cuda13]'"
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert found("NVIDIA GPU").mend == "unset JAX_PLATFORMS"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert found("NVIDIA GPU").state == "fine"


def test_devices_that_fail_are_told_of(monkeypatch):
    def devices():
        raise RuntimeError("Unable to initialize backend 'cuda'\nmore")

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    assert found("devices").value == "none: Unable to initialize backend 'cuda'"
    assert found("devices").mend.startswith("JAX_PLATFORMS=cuda: unset it")
    assert surroundings.devices().startswith("none: ")


def test_little_room_is_a_problem(monkeypatch):
    usage = shutil.disk_usage(".")._replace(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert found("disk here").state == "problem"
    assert "--shm-size" in found("shared memory").mend


def test_the_command_ends_with_its_problems(run, monkeypatch):
    code, out, _ = run("doctor", "--json")
    assert code == 0
    assert {one["state"] for one in json.loads(out)["findings"]} <= {"fine", "absent"}
    monkeypatch.setenv("AEFLAX_DATA_DIR", "nowhere")
    code, out, errors = run("doctor")
    assert code == 2
    assert "✗" in out
    assert "AEFLAX_DATA_DIR: nowhere is no folder; set it to a folder" in errors
    assert "Traceback" not in errors


def test_where_prepared_data_sets_are_sought_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert found("TFDS_DATA_DIR").state == "absent"
    version = tmp_path / "faces" / "1.0.0"
    version.mkdir(parents=True)
    (version / "dataset_info.json").write_text('{"fileFormat": "array_record"}')
    assert "its records are not whole" in found("TFDS_DATA_DIR").value
    (version / "faces-train.array_record-00000-of-00001").write_bytes(bytes(2**16))
    assert (found("TFDS_DATA_DIR").state, found("TFDS_DATA_DIR").value) == ("fine", f"{tmp_path}: faces:1.0.0")
    plain = tmp_path / "words" / "small" / "2.0.0"
    plain.mkdir(parents=True)
    (plain / "dataset_info.json").write_text('{"fileFormat": "tfrecord"}')
    told = found("TFDS_DATA_DIR")
    assert told.state == "problem"
    assert "words/small:2.0.0 (prepared as tfrecord" in told.value
    for place, above in ((version, "two above it"), (version.parent, "the folder above it")):
        monkeypatch.setenv("TFDS_DATA_DIR", str(place))
        assert found("TFDS_DATA_DIR").state == "problem"
        assert above in found("TFDS_DATA_DIR").value
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nowhere"))
    assert found("TFDS_DATA_DIR").state == "problem"  # it was named
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert found("TFDS_DATA_DIR").state == "absent"  # nor is it a fault that there is no such folder


def test_a_compilation_cache_that_cannot_be_written_is_a_problem(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "file" / "jax"))
    assert found("compilation cache").state == "problem"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "new" / "jax"))
    assert found("compilation cache").state == "fine"


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_the_version_is_that_of_the_stack_too(run, word):
    code, out, _ = run(word)
    assert code == 0
    assert out.startswith("aeflax ")
    assert f"jax {jax.__version__}" in out
    assert "devices: 4 × cpu" in out
