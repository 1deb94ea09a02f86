"""Parts that a user's file defines, on the command line: their options, their mistakes, and their runs afterwards."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aeflax.definitions import _with_imports
from aeflax.storage.document import read_json, write_json

PAGE = (Path(__file__).parent.parent / "docs" / "extending.md").read_text(encoding="utf-8")
OWN, ABOVE, _ = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
SHORT = ("--train.steps", "5", "--no-report", "--run-dir", "run")
pytestmark = pytest.mark.slow


@pytest.fixture
def aeflax(tmp_path):
    """Runs a command in a process of its own: what a file registers stays with it."""
    (tmp_path / "own.py").write_text(OWN)
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}

    def call(*words):
        done = subprocess.run(
            [sys.executable, "-m", "aeflax", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    return call


def test_own_penalties_are_options_and_their_runs_need_the_file(aeflax, tmp_path):
    assert aeflax("train", "own.py", "--model.penalties.energy.weight", "0.5", *SHORT)[0] == 0
    code, said = aeflax("evaluate", "run")
    assert code == 2
    assert "--define own.py" in said
    code, said = aeflax("evaluate", "run", "--define", "own.py")
    assert (code, "has changed" in said) == (0, False)
    assert aeflax("evaluate", "run", "--define=nowhere.py") == (2, "aeflax: nowhere.py is no file; check the path\n")
    (tmp_path / "own.py").write_text(OWN.replace("weight", "strength"))
    code, said = aeflax("evaluate", "run", "--define", "own.py")
    renamed = (
        "the run in run was trained with other parts than there are now: unknown field model.penalties.energy.weight"
    )
    assert (code, renamed in said) == (2, True), said


def test_a_file_of_parts_that_has_changed_is_told_of(aeflax, tmp_path):
    assert aeflax("train", "own.py", *SHORT)[0] == 0
    (tmp_path / "own.py").write_text(OWN.replace("outputs.latent.code**2", "outputs.latent.code**4"))
    changed = "own.py has changed since the run was last trained"
    for words in (("evaluate", "run"), ("train", "--resume", *SHORT[2:], "--train.steps", "9")):
        code, said = aeflax(*words, "--define", "own.py")
        assert (code, changed in said) == (0, True), said
    code, said = aeflax("evaluate", "run", "--define", "own.py")  # as it was trained last
    assert (code, changed in said) == (0, False), said
    # What is trained no further is as it was trained; another name makes no other file.
    (tmp_path / "other.py").write_text(OWN.replace("outputs.latent.code**2", "outputs.latent.code**6"))
    for words in (("train", "--resume", *SHORT[2:], "--train.steps", "9"), ("evaluate", "run")):
        code, said = aeflax(*words, "--define", "other.py")
    assert (code, "the run was last trained with own.py, and its parts now are what other.py says" in said) == (0, True)
    (tmp_path / "other.py").write_text((tmp_path / "own.py").read_text())
    assert "has changed" not in aeflax("evaluate", "run", "--define", "other.py")[1]
    told = json.loads((tmp_path / "run" / "experiment.json").read_text())
    assert [parts.keys() for parts in (told["parts"], *told["resumed_with_parts"])] == [{"own.py"}, {"own.py"}]
    assert told["parts"] not in told["resumed_with_parts"]


def test_what_lies_beside_the_file_is_part_of_it(aeflax, tmp_path):
    helped = OWN.replace("import aeflax\n", "import aeflax\nfrom helper import energy_of\n")
    helped = helped.replace("jnp.sum(outputs.latent.code**2, axis=-1)", "energy_of(outputs.latent.code)")
    (tmp_path / "own.py").write_text(helped)
    helper = "import jax.numpy as jnp\n\n\ndef energy_of(code):\n    return jnp.sum(code**2, axis=-1)\n"
    (tmp_path / "helper.py").write_text(helper)
    assert aeflax("train", "own.py", *SHORT)[0] == 0
    assert read_json(tmp_path / "run" / "experiment.json")["parts"].keys() == {"own.py", "helper.py"}
    code, said = aeflax("evaluate", "run", "--define", "own.py")
    assert (code, "has changed" in said) == (0, False)
    (tmp_path / "helper.py").write_text(helper.replace("**2", "**4"))
    for words in (("evaluate", "run"), ("train", "--resume", *SHORT[2:], "--train.steps", "7")):
        code, said = aeflax(*words, "--define", "own.py")
        assert (code, "helper.py has changed since the run was last trained" in said) == (0, True)
    code, said = aeflax("evaluate", "run")
    assert code == 2
    assert "import the module that defines it first, or add --define own.py" in said


def test_only_the_user_s_own_modules_are_part_of_a_file(tmp_path):
    (tmp_path / "aeflax").mkdir()
    (tmp_path / "pkg").mkdir()
    files = {
        "own.py": "import json, aeflax, fast, pkg.deep\nfrom pkg import deep\n\n\ndef late():\n    import late\n",
        "aeflax/__init__.py": "",  # of a clone in which the file lies
        "pkg/__init__.py": "from . import other\n",
        "pkg/deep.py": "from .other import thing\nfrom ..late import more\n",
        "pkg/other.py": "",
        "late.py": "",
        "idle.py": "",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "fast.cpython-311-x86_64-linux-gnu.so").write_bytes(b"\0")
    found = _with_imports([tmp_path / "own.py"])
    assert next(iter(found)) == "own.py"
    assert {*found} == {"own.py", "pkg/__init__.py", "pkg/deep.py", "pkg/other.py", "late.py"}


def test_a_corruption_that_mixes_rows_is_warned_of(aeflax, tmp_path):
    (tmp_path / "own.py").write_text(OWN.replace("reshape(images.shape)", "reshape(images.shape)[::-1]"))
    code, said = aeflax("train", "own.py", *SHORT)
    assert code == 0, said
    assert "model.corruption speckle makes an example depend on the others of its batch" in said
    twice = OWN.replace(
        "noise.normal(keys, rows.shape[1]))", "noise.normal(keys, rows.shape[1]) * noise.uniform(keys, 1))"
    )
    (tmp_path / "own.py").write_text(twice)
    code, said = aeflax("train", "own.py", *SHORT, "--overwrite")
    assert code == 0, said
    assert "model.corruption speckle draws more than once from the same `keys`" in said


def test_a_sweep_does_not_go_on_with_a_file_that_has_changed(aeflax, tmp_path):
    words = ("sweep", "--grid", "train.seed=0,1", "--train.steps", "4", "--run-dir", "run", "--no-report")
    assert aeflax(words[0], "own.py", *words[1:])[0] == 0
    told = tmp_path / "run" / "sweep.json"
    finished = read_json(told)
    assert finished["parts"].keys() == {"own.py"}
    (tmp_path / "own.py").write_text(OWN.replace("outputs.latent.code**2", "outputs.latent.code**4"))
    again = ("sweep", "--define", "own.py", "--resume", "--run-dir", "run", "--no-report")
    code, said = aeflax(*again)
    assert (code, "own.py has changed since the sweep in run began: its models are as they were" in said) == (0, True)
    write_json(
        told, {name: value for name, value in finished.items() if name != "members"}
    )  # as if it had been stopped
    code, said = aeflax(*again)
    assert code == 2
    assert "own.py has changed since the sweep in run began, and members trained before and after" in said


def test_a_bottleneck_of_ones_own_is_exported(aeflax, tmp_path):
    (tmp_path / "above.py").write_text(ABOVE)
    assert aeflax("train", "above.py", *SHORT)[0] == 0
    for form in ("stablehlo", "onnx"):
        code, said = aeflax("export", "run", "--format", form, "--define", "above.py")
        assert code == 0, said
    (tmp_path / "above.py").write_text(
        ABOVE.replace("Latent(code=", "Latent(code=jnp.round(3 * jnp.mean(hidden, -1, keepdims=True)) + ")
    )
    assert aeflax("train", "above.py", *SHORT, "--overwrite")[0] == 0
    code, said = aeflax("export", "run", "--format", "onnx", "--define", "above.py")
    assert code == 0, said
    (tmp_path / "above.py").write_text(ABOVE.replace("hidden.shape[0]", "len(hidden)"))
    code, said = aeflax("export", "run", "--format", "onnx", "--define", "above.py")
    assert code == 2
    assert re.search(r"above\.py:\d+ fails: TypeError: .*; an exported batch has any size; write x.shape\[0\]", said)
    drawing = ABOVE.replace("Latent(code=", "Latent(code=noise.normal(context.keys, self.features) + ")
    (tmp_path / "above.py").write_text(drawing.replace("from aeflax import", "from aeflax import noise,"))
    code, said = aeflax("train", "above.py", *SHORT, "--overwrite")
    assert code == 2
    assert re.search(r"above\.py:\d+ fails: TypeError: .*NoneType", said)


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('return values["weight"] * energy, energy', 'return values["weight"] * energy', "energy gives no pair"),
        ('values["weight"] * energy, energy', 'values["weight"] * energy.sum(), energy', r"of the shape \(\) where"),
        (
            'values["weight"] * energy, energy',
            'values["weight"] * energy + __import__("numpy").random.rand(), energy',
            r"model\.penalties\.energy draws from NumPy or Python, once",
        ),
        ('values["weight"]', 'values["wait"]', r"own\.py:\d+ fails: KeyError: 'wait'; `values` holds the floats"),
        ("outputs.latent.code**2", "outputs.code**2", r"own\.py:\d+ fails: AttributeError"),
        (
            'values["weight"]',
            "part.weight",
            r"own\.py:\d+ fails: TypeError: weight has no value .*read values\['weight'\]",
        ),
        (
            "energy = jnp.sum(outputs.latent.code**2, axis=-1)",
            "energy = jnp.full(len(outputs.latent.code), jnp.sum(mean(outputs.latent.code.T)))",
            r"own\.py:\d+ fails: TypeError: `mean` averages an array .* over the B = \d+ .*, not the shape \(8,",
        ),
        (
            "energy = jnp.sum(outputs.latent.code**2, axis=-1)",
            "energy = mean(outputs)",
            r"own\.py:\d+ fails: TypeError: `mean` averages .*, not Outputs",
        ),
        (
            "def cost(",
            'fixed = __import__("numpy").random.rand()\n\n    def cost(',
            r"the factory of model\.penalties\.energy draws from NumPy or Python",
        ),
        (
            "def corrupt(",
            'fixed = __import__("random").random()\n\n    def corrupt(',
            r"the factory of model\.corruption speckle draws from NumPy or Python",
        ),
        (
            'return values["weight"] * energy, energy\n',
            'return (values["weight"] + fixed) * energy, energy\n\n'
            '    fixed = __import__("numpy").random.default_rng().random()\n',
            r"the factory of model\.penalties\.energy draws from NumPy or Python, which is something else",
        ),
        (
            "    return corrupt\n",
            '    fixed = __import__("numpy").random.default_rng().random()\n'
            "    return lambda keys, images, values: corrupt(keys, images, values) + fixed\n",
            r"the factory of model\.corruption speckle draws from NumPy or Python, which is something else",
        ),
        (
            "energy = jnp.sum(outputs.latent.code**2, axis=-1)",
            "energy = jnp.full(128, mean(jnp.sum(outputs.latent.code**2, axis=-1)))",
            r"model\.penalties\.energy gives an array of the shape \(128,\) where \(129,\) is needed",
        ),
        (".reshape(images.shape)", "", r"model\.corruption speckle gives an array of the shape"),
        (
            ".reshape(images.shape)",
            ".reshape(images.shape).astype(int)",
            r"speckle gives int32 where floats are needed",
        ),
        (
            "noise.normal(keys, rows.shape[1])",
            '__import__("numpy").random.normal(size=rows.shape)',
            r"speckle draws from NumPy or Python, once",
        ),
        (
            "noise.normal(keys, rows.shape[1])",
            '__import__("jax").random.normal(__import__("jax").random.key(0), rows.shape)',
            r"speckle draws noise in which its `keys` have no part",
        ),
    ],
)
def test_a_mistake_in_a_factory_is_the_users_and_leaves_no_run(right, wrong, said, aeflax, tmp_path):
    (tmp_path / "own.py").write_text(OWN.replace(right, wrong))
    code, told = aeflax("train", "own.py", *SHORT)
    assert code == 2
    assert re.search(said, told)
    assert "Traceback" not in told
    left = os.listdir(tmp_path / "run") if (tmp_path / "run").exists() else []
    assert left in ([], ["run.lock"])  # the command, mended, begins there


def test_what_is_likely_to_be_a_mistake_in_a_factory_is_warned_of(aeflax, tmp_path):
    swapped = OWN.replace('return values["weight"] * energy, energy', 'return energy, values["weight"] * energy')
    fixed = "import numpy\n\n{}FIXED = numpy.random.rand()\n\n" + OWN
    for content, said in (
        (swapped, "model.penalties.energy.weight changes nothing that is trained"),
        (fixed.format(""), "own.py draws from np.random while it is read, which gives something else in every process"),
        (fixed.format("numpy.random.seed(0)\n"), None),
    ):
        (tmp_path / "own.py").write_text(content)
        code, told = aeflax("train", "own.py", *SHORT, "--overwrite")
        assert code == 0, told
        assert said is None or said in told
        assert ("np.random" in told) == (said is not None and "np.random" in said)
