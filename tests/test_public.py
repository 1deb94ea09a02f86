"""What `import aeflax` gives: complete, documented, and free of side effects."""

import ast
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import aeflax
from aeflax import config, errors, presets
from aeflax.config.schema import is_ours

HEAVY = ("jax", "jaxlib", "flax", "optax", "orbax", "chex", "numpy", "sklearn", "tensorflow", "rich", "tyro")


def python(code: str) -> str:
    """Output of a fresh interpreter, in which a warning is an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_public_names_are_exactly_these():
    assert aeflax.__all__ == [
        "Run",
        "config",
        "errors",
        "estimator",
        "load",
        "load_sweep",
        "presets",
        "sweep",
        "train",
        "verify",
    ]


def test_what_the_type_checker_sees_is_what_is_public():
    module = ast.parse(Path(aeflax.__file__).read_text())
    (typed,) = (node for node in module.body if isinstance(node, ast.If))
    names = [alias.name for node in typed.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(names) == aeflax.__all__


def test_every_public_name_is_there_and_listed():
    for name in aeflax.__all__:
        assert getattr(aeflax, name) is not None
        assert name in dir(aeflax)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'aeflax' has no attribute 'trian'"):
        _ = aeflax.trian
    assert not hasattr(aeflax, "build_everything")


def documented() -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = [("aeflax", aeflax)]
    for name in aeflax.__all__:
        value = getattr(aeflax, name)
        found.append((name, value))
        if inspect.ismodule(value) or inspect.isclass(value):
            found += [
                (f"{name}.{member}", thing)
                for member, thing in vars(value).items()
                if not member.startswith("_")
                and (isinstance(thing, property) or inspect.isclass(thing) or inspect.isfunction(thing))
                and (not inspect.ismodule(value) or thing.__module__.startswith(value.__name__))
            ]
    return found


@pytest.mark.parametrize(("name", "thing"), documented(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_public_name_says_what_it_is(name, thing):
    text = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    assert text
    assert not text.startswith(f"{name.split('.')[-1]}(")  # the signature that dataclass writes where there is no text


@pytest.mark.parametrize("name", ["train", "load"])
def test_functions_document_parameters_and_errors(name):
    function = getattr(aeflax, name)
    text = inspect.getdoc(function)
    assert "Args:" in text
    assert "Raises:" in text
    for parameter in inspect.signature(function).parameters:
        assert f"  {parameter}:" in text


def test_every_error_has_its_exit_code_of_the_design():
    codes = {
        name: value.exit_code
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.AeflaxError)
    }
    assert codes == {
        "AeflaxError": 1,
        "ConfigError": 2,
        "DivergedError": 3,
        "CheckpointError": 4,
        "DataError": 5,
        "UnavailableError": 5,  # a kind of it
        "RunInUseError": 6,
        "StoppedError": 75,
    }


def test_configurations_are_frozen_and_keyword_only():
    parts = [value for value in vars(config).values() if inspect.isclass(value) and dataclasses.is_dataclass(value)]
    parts = [part for part in parts if is_ours(part)]
    assert len(parts) > 15
    for part in parts:
        assert part.__dataclass_params__.frozen, part
        assert all(field.kw_only for field in dataclasses.fields(part)), part


def test_importing_sets_no_environment_variable_and_loads_nothing_heavy():
    code = (
        "import os, sys; before = dict(os.environ); import aeflax, aeflax.config, aeflax.presets, aeflax.errors\n"
        "aeflax.presets.vae(), aeflax.config.Experiment, aeflax.errors.ConfigError, dir(aeflax)\n"
        f"assert dict(os.environ) == before; print(sorted(set({HEAVY}) & set(sys.modules)))"
    )
    assert python(code) == "[]"


@pytest.mark.slow
def test_using_the_whole_interface_sets_no_environment_variable():
    code = (
        "import os; before = dict(os.environ); import jax; theirs = dict(os.environ)\n"
        "import aeflax; aeflax.train, aeflax.load, aeflax.Run\n"
        "print({k: v for k, v in os.environ.items() if theirs.get(k) != v})"
    )
    # Without -W error: what other packages warn of at their import is theirs.
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "{}"


def test_presets_are_public_by_their_names():
    assert all(getattr(presets, name) is preset for name, preset in presets.PRESETS.items())
