"""What must hold on an accelerator, against the CPU beside it. `make test-accelerator`; not part of `make test`.

The tests of `make test` run on host devices wherever they are started. These run on what JAX takes by default.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import aeflax
from aeflax.errors import StoppedError
from aeflax.models import layers

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from variants import PRESETS, experiment, images  # noqa: E402

pytestmark = pytest.mark.skipif(jax.default_backend() == "cpu", reason="JAX finds no accelerator")
SHAPE, EXAMPLES, STEPS = (12, 10, 1), 640, 48
CHOSEN = (*PRESETS, "batch-top-k", "dictionary", "denoising-conv-vae")


def settings(variant, placement="jit"):
    """Batches of 64: 512 training examples are eight steps an epoch."""
    base = experiment(variant, steps=STEPS)
    data = replace(base.data, batch_size=64)
    train = replace(base.train, checkpoint_every=16, log_every=16, placement=placement)
    return replace(base, data=data, train=train)


def trained(variant, path=None, *, placement="jit", **how):
    """A run with products in full float32."""
    with jax.default_matmul_precision("highest"):
        return aeflax.train(settings(variant, placement), images(EXAMPLES, SHAPE), run_dir=path, report=False, **how)


def metrics(run):
    return {split: run.evaluate(split) for split in ("train", "test")}


def process(*words, **variables):
    """Standard output of a process of its own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])} | variables
    done = subprocess.run([sys.executable, *map(str, words)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("variant", CHOSEN)
def test_training_follows_the_cpu_s(variant):
    # Sums in another order over 48 steps: 1e-3 of a metric. A unit that is chosen otherwise moves more.
    reference = json.loads(process(__file__, variant, JAX_PLATFORMS="cpu").splitlines()[-1])
    for split, found in metrics(trained(variant)).items():
        for name, value in found.items():
            assert value == pytest.approx(reference[split][name], rel=2e-3, abs=2e-3), (split, name)


@pytest.mark.parametrize("variant", CHOSEN)
def test_a_run_repeats_and_resumes_to_the_bit(variant, tmp_path):
    whole = trained(variant, tmp_path / "whole").summary["state_sha256"]
    assert trained(variant, tmp_path / "again").summary["state_sha256"] == whole
    asked = iter([False, False, True])
    with pytest.raises(StoppedError):
        trained(variant, tmp_path / "stopped", stop=lambda: next(asked, True))
    assert trained(variant, tmp_path / "stopped", resume=True).summary["state_sha256"] == whole


@pytest.mark.parametrize("variant", ["vae", "conv"])
def test_another_process_gives_the_same_bits(variant, tmp_path):
    words = ["-m", "aeflax", "train", variant, "--train.steps", "40", "--no-report", "--json"]
    digests = []
    for name in ("one", "two"):
        process(*words, "--run-dir", tmp_path / name)
        digests.append(json.loads((tmp_path / name / "summary.json").read_text())["state_sha256"])
    assert digests[0] == digests[1]


@pytest.mark.parametrize("variant", ["vanilla", "conv"])
def test_a_run_is_used_on_the_cpu(variant, tmp_path):
    run = trained(variant, tmp_path / "run")
    example = images(8, SHAPE, seed=5)
    np.save(tmp_path / "in.npy", example)
    with jax.default_matmul_precision("highest"):
        here = run.encode(example)
    words = ["encode", tmp_path / "run", tmp_path / "in.npy", tmp_path / "out.npy"]
    process("-m", "aeflax", *words, JAX_PLATFORMS="cpu")
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), here, rtol=1e-4, atol=1e-4)


# What reads an export: JAX alone.
FOREIGN = """
import sys, numpy as np
from jax import export
call = export.deserialize(bytearray(open(sys.argv[1], "rb").read())).call
np.save(sys.argv[3], np.asarray(call(np.load(sys.argv[2]))))
"""


@pytest.mark.parametrize("form", ["stablehlo", "onnx"])
@pytest.mark.parametrize("variant", ["vanilla", "vae", "conv"])
def test_an_export_agrees_with_a_run_whose_products_are_the_platform_s(variant, form, tmp_path):
    run = aeflax.train(settings(variant), images(EXAMPLES, SHAPE), report=False)
    folder = run.export(form, tmp_path / "out")
    assert json.loads((folder / "manifest.json").read_text())["checked"]["largest_difference"] <= 1e-5


@pytest.mark.parametrize("variant", ["vanilla", "vae", "conv"])
def test_what_is_exported_here_computes_the_same_everywhere(variant, tmp_path):
    run = aeflax.train(settings(variant), images(EXAMPLES, SHAPE), report=False)
    folder = run.export("stablehlo", tmp_path / "out")
    np.save(tmp_path / "in.npy", images(8, SHAPE, seed=5).astype(np.float32))
    for name in ("here", "cpu"):
        variables = {"JAX_PLATFORMS": "cpu"} if name == "cpu" else {}
        process("-c", FOREIGN, folder / "autoencoder.stablehlo", tmp_path / "in.npy", tmp_path / name, **variables)
    here, cpu = (np.load(tmp_path / f"{name}.npy") for name in ("here", "cpu"))
    np.testing.assert_allclose(here, cpu, rtol=0, atol=1e-5 * np.abs(cpu).max())


@pytest.mark.parametrize("placement", ["pmap", "mesh"])
def test_placements_agree(placement):
    alone, shared = (metrics(trained("conv", placement=name)) for name in ("jit", placement))
    for name, value in alone["test"].items():
        assert shared["test"][name] == pytest.approx(value, rel=1e-5, abs=1e-5), name


@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_are_the_platform_s_own(stride):
    x = jnp.asarray(np.random.RandomState(0).randn(4, 9, 7, 3), jnp.float32)
    kernel = jnp.asarray(np.random.RandomState(1).randn(3, 3, 3, 5), jnp.float32)

    def ours(x, kernel):
        return jnp.sum(jnp.sin(layers.convolve(x, kernel, stride)))

    def theirs(x, kernel):
        window = (stride, stride)
        maps = lax.conv_general_dilated(x, kernel, window, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jnp.sum(jnp.sin(maps))

    with jax.default_matmul_precision("highest"):
        compiled = jax.jit(jax.grad(ours, argnums=(0, 1))).lower(x, kernel)
        assert "convolution" in compiled.as_text()
        for own, other in zip(compiled.compile()(x, kernel), jax.grad(theirs, argnums=(0, 1))(x, kernel), strict=True):
            np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", ["vanilla", "conv", "vae"])
def test_members_of_a_sweep_are_trained_as_alone(variant, tmp_path):
    with jax.default_matmul_precision("highest"):
        found = aeflax.sweep(
            settings(variant),
            {"train.seed": [3, 4], "optimizer.learning_rate": [1e-3, 3e-3]},
            images(EXAMPLES, SHAPE),
            run_dir=tmp_path / "sweep",
        )
    member = next(one for one in found.members if one["settings"] == {"train.seed": 3, "optimizer.learning_rate": 3e-3})
    for name, value in metrics(trained(variant))["test"].items():
        assert member["test"][name] == pytest.approx(value, rel=2e-3, abs=2e-3), name


if __name__ == "__main__":
    print(json.dumps(metrics(trained(sys.argv[1]))))
