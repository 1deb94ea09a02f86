"""The commands' compilation cache: filled, found, mended, and never in the way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aeflax.cli import cache

ROOT = Path(__file__).parent.parent
TRAIN = ["train", "--train.steps", "2", "--no-report", "--overwrite"]


def run(place, directory, **settings):
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment |= {"PYTHONPATH": str(ROOT), cache.VARIABLE: str(place)} | settings
    command = [sys.executable, "-m", "aeflax", *TRAIN, "--run-dir", str(directory)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_damaged_entries_are_deleted_and_made_again(tmp_path):
    place = tmp_path / "cache"
    first = run(place, tmp_path / "run")
    assert first.returncode == 0, first.stderr
    programs = sorted(place.rglob("jit_epoch-*-cache"))
    assert programs
    sound = [path.read_bytes() for path in programs]
    for path in programs:
        path.write_bytes(path.read_bytes()[:100])
    second = run(place, tmp_path / "run")
    assert second.returncode == 0
    assert "damaged entry of the compilation cache was deleted (jit_epoch)" in second.stderr
    assert "Traceback" not in second.stderr
    assert [path.stat().st_size > 100 for path in programs] == [True] * len(sound)
    assert "damaged entry" not in run(place, tmp_path / "run").stderr


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_said_once_and_done_without(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    done = run(blocked, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be written") == 1


@pytest.mark.slow
def test_off_writes_nothing(tmp_path):
    done = run("off", tmp_path / "run", XDG_CACHE_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "home").exists()


def enabled(monkeypatch, **settings):
    """The environment that `enable` leaves, in a process that has not imported JAX."""
    kept = {k: v for k, v in os.environ.items() if k != cache.VARIABLE and not k.startswith("JAX_")}
    monkeypatch.setattr(os, "environ", kept | settings)
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.setattr("warnings.showwarning", lambda *details: None)
    cache.enable()
    return os.environ


def test_the_cache_lies_in_the_users_cache_directory(monkeypatch, tmp_path):
    found = enabled(monkeypatch, XDG_CACHE_HOME=str(tmp_path))
    assert Path(found["JAX_COMPILATION_CACHE_DIR"]).parent == tmp_path / "aeflax" / "jax"


def test_what_is_set_for_jax_stands(monkeypatch, tmp_path):
    place = str(tmp_path / "theirs")
    assert enabled(monkeypatch, JAX_COMPILATION_CACHE_DIR=place)["JAX_COMPILATION_CACHE_DIR"] == place


def test_beyond_its_bound_the_oldest_half_goes(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "MAX_BYTES", 300)
    for age in range(4):
        path = tmp_path / f"jit_{age}-0-cache"
        path.write_bytes(b"x" * 100)
        os.utime(path, (1000 - age, 1000 - age))
    enabled(monkeypatch, JAX_COMPILATION_CACHE_DIR=str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jit_0-0-cache"]


def test_a_place_whose_name_is_too_long_is_said_and_done_without(monkeypatch, tmp_path, capsys):
    found = enabled(monkeypatch, AEFLAX_COMPILATION_CACHE=str(tmp_path / ("a" * 300)))
    assert found["JAX_ENABLE_COMPILATION_CACHE"] == "false"
    assert "cannot be written; every run compiles anew" in capsys.readouterr().err


def test_entries_that_are_folders_or_links_to_nothing_are_deleted_and_counted(tmp_path):
    (tmp_path / "a-cache" / "inner").mkdir(parents=True)
    (tmp_path / "b-cache").symlink_to("nothing")
    cache._shrink(tmp_path)
    cache._delete([tmp_path / "a-cache", tmp_path / "b-cache", tmp_path / "c-cache"])
    assert list(tmp_path.iterdir()) == []
