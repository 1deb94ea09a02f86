"""The code of docs/export.md runs where aeflax and Flax are not."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(encoding="utf-8"), re.DOTALL)
# As where they are not installed: importing one of them is an error.
ALONE = "import sys; sys.modules.update(dict.fromkeys(('aeflax', 'flax', 'optax', 'orbax', 'chex')))\n"
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("shipped")]  # trained once


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shipped")
    for preset, name, forms in (
        ("vae", "shipped", ("stablehlo", "onnx")),
        ("vanilla", "dense", ("safetensors",)),
        ("conv", "conv", ("safetensors",)),
    ):
        more = ["--model.backbone.widths", "32"] if name == "dense" else []
        aeflax(folder, "train", preset, "--run-dir", f"runs/{name}", "--train.steps", "20", "--no-report", *more)
        for form in forms:
            aeflax(folder, "export", f"runs/{name}", "--format", form)
    return folder


def aeflax(folder, *words):
    subprocess.run([sys.executable, "-m", "aeflax", *words], cwd=folder, check=True, capture_output=True)


def output(folder, code):
    done = subprocess.run([sys.executable, "-c", ALONE + code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_stablehlo_is_read_by_jax_alone(shipped, tmp_path):
    assert output(shipped, BLOCKS[0]) == "(3, 16)"
    copy = tmp_path / "copy"
    shutil.copytree(shipped / "runs", copy / "runs")
    damaged = copy / "runs" / "shipped" / "export" / "stablehlo" / "encoder.stablehlo"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(AssertionError, match="the file is damaged"):
        output(copy, BLOCKS[0])


def test_onnx_is_read_by_its_runtime(shipped):
    assert output(shipped, BLOCKS[1]) == "(2, 8, 8, 1)"


@pytest.mark.parametrize(("name", "block"), [("dense", 2), ("conv", 3)])
def test_a_network_is_rebuilt_in_pytorch(name, block, shipped, monkeypatch):
    torch = pytest.importorskip("torch", reason="PyTorch is no dependency of the tests")
    import aeflax as library

    run = library.load(shipped / "runs" / name)
    names: dict = {}
    monkeypatch.chdir(shipped)
    exec(BLOCKS[block], names)
    rows = np.random.RandomState(0).uniform(size=(9, 8, 8, 1)).astype(np.float32)
    codes = names["encode"](torch.from_numpy(rows))
    np.testing.assert_allclose(codes.numpy(), run.inference.scaled_encode(rows), atol=1e-5)
    images = names["decode"](codes)
    np.testing.assert_allclose(images.numpy(), run.inference.scaled_decode(codes.numpy()), atol=1e-5)
