"""The run directory: who may take it, what survives, and what a crash leaves."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from aeflax.errors import ConfigError, RunInUseError
from aeflax.rundir.audit import verify
from aeflax.rundir.claim import LOCK, claim, create_folder, first_free, require_usable
from aeflax.rundir.runs import MANIFEST, METRICS, SUMMARY, read_manifest, read_metrics, require_first_weights
from aeflax.storage.document import read_json, write_json

RULES = [
    {"resume": False, "overwrite": False},
    {"resume": True, "overwrite": False},
    {"resume": False, "overwrite": True},
]


def tree(path: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(path)): p.read_bytes() if p.is_file() else None for p in sorted(path.rglob("*"))}


@pytest.fixture
def kept(tmp_path):
    """A run that finished."""
    path = tmp_path / "kept"
    with claim(path, resume=False, overwrite=False) as run:
        run.write(MANIFEST, {"a": 1})
        run.write(SUMMARY, {"step": 3})
        (run.path / "checkpoints" / "3").mkdir(parents=True)
        (run.path / "checkpoints" / "3" / "data").write_bytes(b"x")
    return path


@contextmanager
def holder(path: Path):
    """Another process that holds the run directory; yields it."""
    code = (
        "import sys, pathlib; from aeflax.rundir.claim import claim\n"
        "run = claim(pathlib.Path(sys.argv[1]), resume=True, overwrite=False)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("rules", RULES)
def test_a_new_path_is_created_with_its_parents(tmp_path, rules):
    with claim(tmp_path / "a" / "b", **rules) as run:
        assert run.path == tmp_path / "a" / "b"
        assert os.listdir(run.path) == [LOCK]


@pytest.mark.parametrize("left", [[], [LOCK], [LOCK, ".aeflax-12ab34cd.tmp"]])
@pytest.mark.parametrize("rules", RULES)
def test_what_an_attempt_left_before_its_manifest_is_taken_over(tmp_path, left, rules):
    for name in left:
        (tmp_path / name).touch()
    claim(tmp_path, **rules).__exit__()


def test_a_run_needs_resume_or_overwrite_and_is_untouched_without(kept):
    before = tree(kept)
    with pytest.raises(ConfigError, match="already holds a run; add --resume to go on or --overwrite to replace it"):
        claim(kept, resume=False, overwrite=False)
    assert tree(kept) == before


def test_resume_keeps_everything(kept):
    before = tree(kept)
    (kept / ".aeflax-12ab34cd.tmp").touch()  # of a process that was killed
    (kept / "checkpoints" / ".aeflax-12ab34ce.tmp").touch()
    with claim(kept, resume=True, overwrite=False):
        pass
    assert {**tree(kept), LOCK: b""} == {**before, LOCK: b""}


def test_overwrite_keeps_the_lock_and_what_is_not_the_run_s(kept, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (kept / "figures").symlink_to(outside, target_is_directory=True)
    (kept / "events.out.tfevents.1").touch()
    (kept / "NOTES.txt").touch()
    (kept / "inner").mkdir()
    (kept / "inner" / "experiment.json").touch()
    with claim(kept, resume=False, overwrite=True):
        assert sorted(os.listdir(kept)) == sorted([LOCK, "NOTES.txt", "inner"])
    assert os.listdir(kept / "inner") == ["experiment.json"]
    assert os.listdir(outside) == ["precious"]


def test_a_run_that_is_trained_is_in_use_before_anything_else_is_said(kept):
    with claim(kept, resume=True, overwrite=False):
        for resume, overwrite in ((False, False), (True, False), (False, True)):
            with pytest.raises(RunInUseError, match="is in use by process"):
                claim(kept, resume=resume, overwrite=overwrite)


def test_an_interrupted_overwrite_leaves_a_run_that_can_be_overwritten(kept, monkeypatch):
    for number in range(10):
        (kept / f"events.out.tfevents.{number}").touch()

    def interrupted(self, *args, **kwargs):
        if self.name.startswith("events.") and not self.name.endswith(".0"):
            raise KeyboardInterrupt
        os.unlink(self)

    monkeypatch.setattr(Path, "unlink", interrupted)
    with pytest.raises(KeyboardInterrupt):
        claim(kept, resume=False, overwrite=True)
    monkeypatch.undo()
    with claim(kept, resume=False, overwrite=True):
        assert os.listdir(kept) == [LOCK]


@pytest.mark.parametrize("name", ["notes.txt", "checkpoints/", METRICS, ".hidden", "sub/deep/"])
@pytest.mark.parametrize("rules", RULES)
def test_a_foreign_directory_is_refused_and_untouched(tmp_path, name, rules):
    entry = tmp_path / name
    if name.endswith("/"):
        entry.mkdir(parents=True)
        entry /= "file"
    entry.write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match=r"is not empty and holds no experiment\.json; choose another --run-dir"):
        claim(tmp_path, **rules)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("below", ["", "run"])
def test_a_file_in_the_way_is_a_configuration_error(tmp_path, below):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="Not a directory"):
        claim(tmp_path / "file" / below, resume=False, overwrite=True)
    assert (tmp_path / "file").read_text() == "x"


def test_a_link_leads_to_a_run_or_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for path in (tmp_path / "link", tmp_path / "link" / "run"):
        with pytest.raises(ConfigError, match=r"link is a link to .*real, which is not there; create that or choose"):
            require_usable(path, resume=False, overwrite=False)
    (tmp_path / "real").mkdir()
    claim(tmp_path / "link", resume=False, overwrite=False).__exit__()
    assert os.listdir(tmp_path / "real") == [LOCK]


def test_a_name_that_is_not_utf8_is_refused_as_the_library_of_checkpoints_cannot_open_it(tmp_path):
    with pytest.raises(ConfigError, match=r"is no UTF-8 name; choose another --run-dir") as caught:
        require_usable(tmp_path / os.fsdecode(b"run\xff"), resume=False, overwrite=False)
    assert str(caught.value).encode()
    require_usable(tmp_path / "Läufe", resume=False, overwrite=False)


def test_asking_whether_a_path_is_usable_creates_nothing(tmp_path):
    require_usable(tmp_path / "new", resume=False, overwrite=False)
    require_usable(tmp_path, resume=False, overwrite=False)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("rules", RULES[1:])
def test_a_second_process_learns_who_holds_the_run_and_changes_nothing(kept, rules):
    with holder(kept) as process:
        before = tree(kept)
        with pytest.raises(RunInUseError, match=rf"is in use by process {process.pid} on .+; wait for it"):
            claim(kept, **rules)
        assert tree(kept) == before


def test_a_checkpoint_of_a_run_in_progress_is_told_from_one_that_was_left(kept, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    (kept / "checkpoints" / "7.orbax-checkpoint-tmp").mkdir(parents=True)
    with holder(kept) as process:
        _, _, err = run("verify", kept, "--json")
        assert f"being written: in use by process {process.pid} on" in err
        assert f"In use by process {process.pid} on" in err
        assert f"process {process.pid} on" in str(verify(kept).holder)
    _, _, err = run("verify", kept, "--json")
    assert "not complete; the next --resume removes it" in err
    assert verify(kept).holder is None


def test_whoever_asks_for_the_holder_is_none(kept):
    with (kept / LOCK).open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        threading.Timer(0.1, lambda: fcntl.flock(asking, fcntl.LOCK_UN)).start()
        with claim(kept, resume=True, overwrite=False):
            assert f"process {os.getpid()} " in (kept / LOCK).read_text()


def test_the_lock_of_a_dead_process_is_taken_over(kept):
    with holder(kept) as process:
        process.kill()
        process.wait()
        assert f"process {process.pid} " in (kept / LOCK).read_text()
        with claim(kept, resume=True, overwrite=False):
            assert (kept / LOCK).read_text().split(" on ")[0] == f"process {os.getpid()}"


def test_the_lock_ends_with_its_context_also_after_an_error(kept):
    def fail():
        with claim(kept, resume=True, overwrite=False):
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    with claim(kept, resume=True, overwrite=False), pytest.raises(RunInUseError, match=f"process {os.getpid()} "):
        claim(kept, resume=True, overwrite=False)


def test_a_run_that_appears_between_the_look_and_the_lock_is_not_trained_over(tmp_path, monkeypatch):
    from aeflax.rundir.claim import RunDirectory

    lock = RunDirectory.lock

    def slow(self):
        lock(self)
        write_json(self.path / MANIFEST, {"from": "a faster process"})

    monkeypatch.setattr(RunDirectory, "lock", slow)
    with pytest.raises(ConfigError, match="already holds a run"):
        claim(tmp_path / "run", resume=False, overwrite=False)
    monkeypatch.undo()
    claim(tmp_path / "run", resume=True, overwrite=False).__exit__()  # and the lock was let go


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("digits", "vae-digits-1"),
        ("fashion_mnist", "vae-fashion_mnist-1"),
        ("npy:/data/my images (1)/faces é.v2.npy", "vae-npy-faces-.v2-1"),
        ("npz:a/b.npz#train/x", "vae-npz-b-1"),
        ("csv:../../etc/passwd", "vae-csv-passwd-1"),
        ("idx:/data/mnist/", "vae-idx-mnist-1"),
        ("synthetic:28x28x1:1000", "vae-synthetic-28x28x1-1000-1"),
        ("npy:文.npy", "vae-npy-1"),
        ("../up", "vae-..-up-1"),
        ("", "vae-data-1"),
        ("/", "vae-data-1"),
        ("npy:" + 300 * "x" + ".npy", "vae-npy-" + 96 * "x" + "-1"),
    ],
)
def test_the_default_name_holds_preset_and_source_and_stays_in_its_root(tmp_path, source, name):
    with first_free(tmp_path, "vae", source) as path:
        assert path == tmp_path / name
        assert path.resolve().parent == tmp_path.resolve()


def test_the_default_name_takes_the_first_free_number(tmp_path):
    for k in (1, 2, 4):
        (tmp_path / f"vanilla-digits-{k}").mkdir()
    (tmp_path / "vanilla-digits-3").touch()
    with first_free(tmp_path, "vanilla", "digits") as path:
        assert path.name == "vanilla-digits-5"
    with first_free(tmp_path / "none", "vanilla", "digits") as path:
        assert path.name == "vanilla-digits-1"


def test_runs_that_are_named_together_get_a_directory_each(tmp_path):
    with ThreadPoolExecutor(8) as pool, ExitStack() as held:
        named = [pool.submit(lambda: held.enter_context(first_free(tmp_path, "vae", "digits"))) for _ in range(40)]
        assert {path.result().name for path in named} == {f"vae-digits-{k}" for k in range(1, 41)}


def test_a_named_directory_stays_only_with_something_in_it(tmp_path):
    with pytest.raises(ValueError, match="mine"), first_free(tmp_path, "vae", "digits") as path:
        raise ValueError("mine")
    assert not path.exists()
    assert tmp_path.exists()  # which was there before
    with first_free(tmp_path / "runs", "vae", "digits"):
        pass
    assert not (tmp_path / "runs").exists()
    with first_free(tmp_path, "vae", "digits") as again:
        claim(again, resume=False, overwrite=False).__exit__()
    assert again == path
    assert os.listdir(again) == [LOCK]


@pytest.mark.parametrize(
    "make", [lambda path: first_free(path, "vae", "x").__enter__(), lambda path: create_folder(path / "p", "it")]
)
def test_a_folder_that_cannot_be_is_a_configuration_error(tmp_path, make):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot write to .*: Not a directory; choose another place"):
        make(tmp_path / "file")


def test_a_folder_is_created_with_its_parents_or_taken_as_it_is(tmp_path):
    for _ in range(2):
        create_folder(tmp_path / "a" / "b", "the profile")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot write to the profile .*/file: File exists; choose another place"):
        create_folder(tmp_path / "file", "the profile")


def test_resume_needs_a_directory_and_excludes_overwrite(tmp_path):
    require_usable(None, resume=False, overwrite=True)
    with pytest.raises(ConfigError, match=r"^--resume needs --run-dir, the run to go on with$"):
        require_usable(None, resume=True, overwrite=False)
    for path in (None, tmp_path):
        with pytest.raises(ConfigError, match=r"^--resume and --overwrite exclude each other; drop one$"):
            require_usable(path, resume=True, overwrite=True)


def test_first_weights_are_needed_until_there_is_a_checkpoint_that_began_with_them(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    (second / "checkpoints").mkdir(parents=True)
    (second / "checkpoints" / "5.orbax-checkpoint-tmp").mkdir()
    for resumed in (None, tmp_path / "new", second):
        with pytest.raises(ConfigError, match="first holds no run"):
            require_first_weights(first, resumed)
    (second / "checkpoints" / "5").mkdir()
    origin = {"run": str(first), "step": 3, "state_sha256": "ab"}
    records = {name: {} for name in ("experiment", "resolved", "data", "inputs", "versions", "random")}
    write_json(second / MANIFEST, records | {"init_from": origin})
    assert require_first_weights(first, second) == origin
    for other in (None, tmp_path / "new"):
        with pytest.raises(ConfigError, match="first holds no run"):
            require_first_weights(first, other)
    first.mkdir()
    write_json(first / MANIFEST, records)
    assert require_first_weights(first, None) is None
    (tmp_path / "other").mkdir()
    write_json(tmp_path / "other" / MANIFEST, records)
    assert require_first_weights(tmp_path / "other", second) is None  # to be compared


def test_no_log_means_no_records(tmp_path):
    assert read_metrics(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"[]", b"3", b"null", b"\xff\xfe\x00"])
def test_damaged_json_is_a_configuration_error_that_names_the_file(tmp_path, content):
    path = tmp_path / MANIFEST
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"experiment\.json .*the run directory is damaged"):
        read_json(path)
    with pytest.raises(ConfigError, match="damaged"):
        read_manifest(tmp_path)


def test_a_manifest_without_its_records_is_damaged(tmp_path):
    write_json(tmp_path / MANIFEST, {"experiment": {}, "data": []})
    with pytest.raises(
        ConfigError, match="lacks resolved, data, inputs, versions, random; the run directory is damaged"
    ):
        read_manifest(tmp_path)


def test_a_directory_of_runs_names_some_of_them(tmp_path):
    (tmp_path / "runs" / "vae-1").mkdir(parents=True)
    write_json(tmp_path / "runs" / "vae-1" / MANIFEST, {})
    with pytest.raises(ConfigError, match=r"did you mean .*runs/vae-1\?"):
        read_manifest(tmp_path / "runs")


def test_a_missing_run_is_a_configuration_error(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "none", tmp_path / "file"):
        with pytest.raises(ConfigError, match=r"holds no run \(experiment\.json is missing\); check the path"):
            read_manifest(path)
    assert read_json(tmp_path / "none.json") is None


def test_read_and_write_go_to_the_run_directory(tmp_path):
    with claim(tmp_path, resume=False, overwrite=False) as run:
        run.write(SUMMARY, {"step": 1})
        assert json.loads((tmp_path / SUMMARY).read_text()).keys() == {"step", "sha256"}


@pytest.mark.parametrize("name", ["checkpoints", "damaged"])
def test_a_run_writes_nowhere_but_in_its_own_directory(kept, tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    if (kept / name).exists():
        (kept / name).rename(tmp_path / "away")
    (kept / name).symlink_to(outside)
    for rules in RULES[1:]:
        with pytest.raises(ConfigError, match=f"{name} is a link, and a run writes nowhere but in its own directory"):
            claim(kept, **rules)
    (kept / name).unlink()
    (kept / LOCK).unlink()
    (outside / "precious").write_text("mine")
    (kept / LOCK).symlink_to(outside / "precious")
    with pytest.raises(ConfigError, match="Too many levels of symbolic links"):
        claim(kept, resume=True, overwrite=False)
    assert (outside / "precious").read_text() == "mine"


def test_a_manifest_that_cannot_be_written_is_told_in_one_sentence(tmp_path, monkeypatch):
    """As where a limit of the size of files lets the lock pass, and nothing larger."""

    def limited(*words):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    with claim(tmp_path / "run", resume=False, overwrite=False) as directory:
        monkeypatch.setattr("aeflax.rundir.claim.write_json", limited)
        with pytest.raises(ConfigError, match=r"cannot write to the run directory .*: File too large"):
            directory.write("experiment.json", {})
