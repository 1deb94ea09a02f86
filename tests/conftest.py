"""Tests run on four host devices, with strict dtype promotion; warnings are errors (pyproject.toml)."""

import gc
import os
import signal
from importlib.metadata import version
from pathlib import Path

# Host devices, also where there is an accelerator: tests/accelerator looks at that one.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Unoptimised programs: most of the tests' time is compiling, and none of them times anything; without the fusion
# emitters, which XLA has left no choice of since JAX 0.12, it takes a third less of it. The tests of the command line
# start processes without these flags.
_flags = ["--xla_force_host_platform_device_count=4", "--xla_backend_optimization_level=0"]
if tuple(map(int, version("jax").split(".")[:2])) < (0, 12):
    _flags.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(_flags))

# Commands that tests start keep their programs here, not in the user's cache.
os.environ.setdefault("AEFLAX_COMPILATION_CACHE", str(Path(__file__).parent.parent / ".pytest_cache" / "commands"))

import jax  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")
# Most of the tests' time is compiling small programs; a second run finds them again. A worker reads what it wrote
# itself: what another one is writing at that moment is half an entry.
_worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent.parent / ".pytest_cache" / f"jax-{_worker}"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

import hypothesis  # noqa: E402
import optax  # noqa: E402
import pytest  # noqa: E402

from aeflax import optimizers  # noqa: E402
from aeflax.cli import main  # noqa: E402
from aeflax.errors import SIGNALS  # noqa: E402

# How long an example takes says nothing: the machine may be busy.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

LONG = ("test_readme.py", "test_docs.py", "test_moves.py", "test_mnist.py")


def pytest_collection_modifyitems(items):
    """What takes minutes begins first: begun last, as by their names, it would keep one worker while others idle."""
    items.sort(key=lambda item: item.path.name not in LONG)


_transformation = optimizers.transformation


def _with_standard_promotion(*args, **kwargs):
    tx = _transformation(*args, **kwargs)

    def update(grads, state, params=None):
        with jax.numpy_dtype_promotion("standard"):
            return tx.update(grads, state, params)

    return optax.GradientTransformation(tx.init, update)


@pytest.fixture(autouse=True, scope="session")
def _strict_promotion_in_our_code_alone():
    """Optax raises a traced float to an integer count, which strict promotion forbids; nothing of ours may."""
    optimizers.transformation = _with_standard_promotion
    yield
    optimizers.transformation = _transformation


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder, on a wide terminal, whose tables are not broken -> (code, output, errors)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def command(*words):
        code = main([str(word) for word in words])
        return (code, *capsys.readouterr())

    return command


@pytest.fixture(autouse=True)
def _signals_are_the_runner_s_again():
    """A command that a test runs in this process hears signals until its process ends, which this one does not."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


MAPPINGS = Path("/proc/self/maps")
MANY = 30_000  # of the 65,530 that Linux allows a process


@pytest.fixture(autouse=True, scope="module")
def _programs_make_room():
    """Some thousand compiled programs take gigabytes, and most of the mappings that a process may have."""
    yield
    if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MANY:
        jax.clear_caches()
        gc.collect()
