"""Several processes that train together, through the installed command: two, with two devices each, on loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import aeflax
from aeflax import hosts
from aeflax.errors import ConfigError, DataError
from aeflax.rundir.runs import read_metrics

ROOT = Path(__file__).parent.parent
FLAGS = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": FLAGS}
SHORT = ("--train.steps", "60", "--train.log-every", "20", "--train.eval-every", "30", "--train.checkpoint-every", "30")
RARELY = ("--train.eval-every", "100000", "--train.checkpoint-every", "100000")
PATIENCE = 120  # seconds; on two busy cores such a run takes about ten


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_python(*words, cwd, **environment):
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env=ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start(*words, cwd, **environment):
    return start_python("-m", "aeflax", "train", *words, cwd=cwd, **environment)


def start_two(*words, cwd, ids=(0, 1), port=None):
    port = port or free_port()
    job = ("--coordinator", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id")
    return [start(*words, *job, number, cwd=cwd) for number in ids]


def ended(process):
    """(exit code, standard output, standard error) of a process."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"still running after {PATIENCE} s: {err}")
    return process.returncode, out, err


def alone(*words, cwd, code=0):
    found = ended(start(*words, cwd=cwd))
    assert found[0] == code, found[2]
    return found


def both(*words, cwd, code=0):
    """What the first of two processes says."""
    return pair(*words, cwd=cwd, code=code)[0]


def pair(*words, cwd, code=0):
    found = [ended(process) for process in start_two(*words, cwd=cwd)]
    assert [one[0] for one in found] == [code, code], "\n".join(one[2] for one in found)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--process-id", "0"],
            "--coordinator, --process-id and --num-processes go together; add --coordinator and --num",
        ),
        (["--coordinator", "a:1", "--num-processes", "2"], "add --process-id"),
        (["--distributed", "--process-id", "1"], "leave out --process-id"),
        (["--coordinator", "a", "--process-id", "0", "--num-processes", "2"], "has the form HOST:PORT"),
        (["--coordinator", "a:0", "--process-id", "0", "--num-processes", "2"], "has the form HOST:PORT"),
        (["--coordinator", "a:65536", "--process-id", "0", "--num-processes", "2"], "has the form HOST:PORT"),
        (
            ["--coordinator", "a:1", "--process-id", "2", "--num-processes", "2"],
            "--process-id must lie in 0 to 1, got 2",
        ),
        (["--coordinator", "a:1", "--process-id", "-1", "--num-processes", "2"], "--process-id must lie in 0 to 1"),
        (["--coordinator", "a:1", "--process-id", "0", "--num-processes", "0"], "--num-processes must be at least 1"),
        (["--distributed", "--start-timeout", "0"], "--start-timeout must be at least 1 second, got 0"),
        (["--distributed"], "several processes need --run-dir, a directory that all of them share"),
    ],
)
def test_options_that_do_not_say_who_trains_together_are_refused(words, message, tmp_path, monkeypatch, capsys):
    from aeflax.cli import main

    monkeypatch.chdir(tmp_path)
    where = [] if message.startswith("several") else ["--run-dir", "run"]
    assert main(["train", *where, *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_one_process_alone_does_everything_itself():
    assert hosts.by_one(lambda: 3) == hosts.by_all(lambda: 3) == hosts.from_first(3) == 3
    hosts.require_alike({"anything": 1})
    with pytest.raises(ConfigError, match="mine"):
        hosts.by_one(lambda: (_ for _ in ()).throw(ConfigError("mine")))


@pytest.mark.parametrize("failure", [ConfigError("a"), DataError("ä" * 3000), ValueError("x\ny"), None])
def test_an_error_reaches_others_with_its_kind_and_its_words(failure):
    told = hosts._encoded(failure)
    assert bool(told[0]) is (failure is not None)
    if failure is not None:
        found = hosts._decoded(told)
        assert found.exit_code == getattr(failure, "exit_code", 1)
        assert str(failure)[:1] in str(found)


def test_an_error_of_jax_that_is_none_of_a_lost_process_is_none():
    assert hosts.lost(jax.errors.JaxRuntimeError("UNKNOWN: Gloo AllGather failed: Connection reset by peer"))
    assert not hosts.lost(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"))
    assert not hosts.lost(ConnectionError("connection reset"))
    assert hosts.lost(ValueError("UNKNOWN: Gloo AllGather failed: Read error: Connection reset by peer"))
    assert not hosts.lost(ValueError("connection is no valid name"))
    told_again = TimeoutError("a save did not end")
    told_again.__cause__ = jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED: barrier")
    assert hosts.lost(told_again)


@pytest.mark.slow
def test_a_process_that_cannot_start_says_why_and_ends(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        (first,) = start_two("--run-dir", "run", cwd=tmp_path, ids=(0,), port=taken.getsockname()[1])
        code, _, err = ended(first)
    assert code == 2
    assert "process 0 cannot listen at --coordinator 127.0.0.1:" in err
    assert "Address already in use" in err

    code, _, err = ended(start("--run-dir", "run", "--distributed", cwd=tmp_path))
    assert code == 2
    assert "--distributed finds no cluster" in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


CLUSTERS = {
    "slurm": lambda number: {
        "SLURM_JOB_ID": "4242",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(number),
        "SLURM_LOCALID": str(number),
    },
    "open-mpi": lambda number: {
        "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": str(number),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(number),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_what_a_cluster_tells_its_processes_is_enough(cluster, tmp_path):
    """With the variables that a launcher sets; JAX reads them."""
    port = str(free_port())
    listen = {"JAX_COORDINATOR_PORT": port, "JAX_COORDINATOR_BIND_ADDRESS": f"127.0.0.1:{port}"}
    words = ("vanilla", *SHORT, "--run-dir", "run", "--no-report", "--json", "--distributed")
    processes = [start(*words, cwd=tmp_path, **listen, **CLUSTERS[cluster](number)) for number in (0, 1)]
    found = [ended(process) for process in processes]
    assert [one[0] for one in found] == [0, 0], [one[2] for one in found]
    assert "training on 4 × cpu (pmap)" in found[0][2]
    assert found[1][1] == ""


@pytest.mark.slow
def test_profile_patience_and_the_fields_of_scale_work_together(tmp_path):
    words = [
        "vae",
        *SHORT,
        "--run-dir",
        "run",
        "--profile",
        "trace",
        "--data.validation",
        "100",
        "--train.patience",
        "9",
    ]
    words += ["--train.precision", "bfloat16", "--train.accumulate", "2", "--train.rematerialize", "True", "--json"]
    summary = json.loads(both(*words, "--data.workers", "1", "--data.resident", "False", cwd=tmp_path)[1])
    assert summary["best"]["step"] in (30, 60)
    assert {entry.name for entry in (tmp_path / "trace").iterdir()} == {"0", "1"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_the_others_do_not_join_gives_up(number, tmp_path):
    started = time.monotonic()
    (process,) = start_two("--run-dir", "run", "--start-timeout", "3", cwd=tmp_path, ids=(number,))
    code, _, err = ended(process)
    assert code == 2
    assert f"process {number} waited 3 s at 127.0.0.1:" in err
    assert "in vain for all 2 processes" in err
    assert "Check failure stack trace" not in err
    assert time.monotonic() - started < 30
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "placement"),
    [
        (("vae", "--train.placement", "pmap"), "4 × cpu (pmap)"),
        (
            (
                "denoising",
                "--train.placement",
                "mesh",
                "--train.fsdp",
                "4",
                "--train.sharding",
                "decoder/output/bias=0",
            ),
            "mesh",
        ),
        (("vae", "--data.resident", "False"), "4 × cpu (pmap)"),
    ],
    ids=["pmap", "mesh", "streamed"],
)
def test_two_processes_train_what_one_does_and_the_first_alone_writes(words, placement, tmp_path):
    (_, out, err), (_, other_out, other_err) = pair(*words, *SHORT, "--run-dir", "two", "--json", cwd=tmp_path)
    assert placement in err
    summary = json.loads(out)  # one line, all of standard output
    assert other_out == ""
    assert "training on" not in other_err
    assert "step" not in other_err
    # float32 sums in another order, which Adam amplifies
    _, single, _ = alone(words[0], *SHORT, "--run-dir", "one", "--json", cwd=tmp_path)
    for split in ("train", "test"):
        for name, value in json.loads(single)[split].items():
            assert summary[split][name] == pytest.approx(value, rel=2e-3), name
    names = [
        {entry.name for entry in (tmp_path / run).iterdir() if "tfevents" not in entry.name} for run in ("one", "two")
    ]
    assert names[0] == names[1]
    assert len(list((tmp_path / "two").glob("*tfevents*"))) == 1
    lines = [[(record["step"], record["split"]) for record in read_metrics(tmp_path / run)] for run in ("one", "two")]
    assert lines[0] == lines[1]
    loaded = aeflax.load(tmp_path / "two")  # in this process, on other devices
    assert loaded.summary["state_sha256"] == summary["state_sha256"]
    assert loaded.evaluate("test")["mse"] == pytest.approx(summary["test"]["mse"], rel=1e-5)


@pytest.mark.slow
def test_exact_training_gives_the_same_bits_on_two_processes_and_on_one(tmp_path):
    words = ("vae", *SHORT, "--train.exact", "True", "--no-report", "--json", "--run-dir")
    _, two, _ = both(*words, "two", "--train.placement", "pmap", cwd=tmp_path)
    _, one, _ = alone(*words, "one", "--train.placement", "jit", cwd=tmp_path)
    assert json.loads(two)["state_sha256"] == json.loads(one)["state_sha256"]


def wait_until(condition, processes):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert all(process.poll() is None for process in processes), [ended(process) for process in processes]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def training(run):
    return lambda: any(record["split"] == "train" for record in read_metrics(run))


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_a_signal_to_one_stops_both_at_one_step_and_any_number_of_processes_goes_on(number, tmp_path):
    words = ("vae", "--train.steps", "400", "--train.log-every", "10", *RARELY, "--no-report", "--json", "--run-dir")
    processes = start_two(*words, "run", cwd=tmp_path)
    wait_until(training(tmp_path / "run"), processes)
    processes[number].send_signal(signal.SIGTERM)
    found = [ended(process) for process in processes]
    assert [one[0] for one in found] == [75, 75], found
    stopped = [one[2].rsplit("stopped at step ", 1)[1].split()[0] for one in found]
    assert stopped[0] == stopped[1]
    (kept,) = [entry.name for entry in (tmp_path / "run" / "checkpoints").iterdir() if entry.name.isdigit()]
    assert kept == stopped[0]
    assert 0 < int(kept) < 400

    go_on = both if number else alone
    _, out, err = go_on(*words, "run", "--resume", cwd=tmp_path)
    assert f"from step {kept} to step 400" in err
    _, whole, _ = alone(*words, "whole", cwd=tmp_path)
    for name, value in json.loads(whole)["test"].items():
        assert json.loads(out)["test"][name] == pytest.approx(value, rel=2e-3), name


@pytest.mark.slow
def test_what_the_first_process_refuses_ends_both_with_its_code(tmp_path):
    both("vanilla", *SHORT, "--run-dir", "run", "--no-report", cwd=tmp_path)
    refused = pair("vanilla", *SHORT, "--run-dir", "run", cwd=tmp_path, code=2)
    assert all("already holds a run" in one[2] for one in refused)
    other = pair("vae", *SHORT, "--run-dir", "run", "--resume", cwd=tmp_path, code=2)
    assert all("another experiment" in one[2] for one in other)
    finished = both("vanilla", *SHORT, "--run-dir", "run", "--resume", "--json", cwd=tmp_path)
    assert json.loads(finished[1])["status"] == "done"

    with (tmp_path / "run" / "run.lock").open("a+") as held:
        import fcntl

        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        both("vanilla", *SHORT, "--run-dir", "run", "--resume", cwd=tmp_path, code=6)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "split"), [(0, "train"), (1, "train"), (1, "test")])
def test_data_that_one_process_cannot_read_any_more_end_both_with_a_checkpoint(number, split, tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (4096, 8, 8), dtype=np.uint8)
    values[1::2] = values[::2]  # every second example is for testing
    job = ("--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", "2", "--process-id")
    words = ["--data.source", "npy:a.npy", "--data.resident", "False", "--data.holdout", "0.5", "--run-dir"]
    words += [tmp_path / "run", "--train.steps", "1000000", "--train.log-every", "50", "--no-report"]
    words += RARELY if split == "train" else ["--train.checkpoint-every", "50", "--train.eval-every", "100"]
    for each in ("0", "1"):
        (tmp_path / each).mkdir()
        np.save(tmp_path / each / "a.npy", values)
    processes = [start(*words, *job, each, cwd=tmp_path / str(each)) for each in (0, 1)]

    def saved():
        return any(entry.name.isdigit() for entry in (tmp_path / "run" / "checkpoints").iterdir())

    wait_until(lambda: training(tmp_path / "run")() and (split == "train" or saved()), processes)
    size = (tmp_path / "0" / "a.npy").stat().st_size
    os.truncate(tmp_path / str(number) / "a.npy", size - 64 if split == "test" else size - 640)
    found = [ended(process) for process in processes]
    assert [one[0] for one in found] == [5, 5], [one[2] for one in found]
    assert all("a.npy has become shorter" in one[2] for one in found)
    assert saved()


@pytest.mark.slow
def test_processes_that_were_started_differently_are_told(tmp_path):
    port = free_port()
    job = ("--run-dir", "run", "--coordinator", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id")
    processes = [start("vanilla", *SHORT, "--train.seed", number, *job, number, cwd=tmp_path) for number in (0, 1)]
    for process in processes:
        code, _, err = ended(process)
        assert code == 2, err
        assert "process 1 has another experiment than process 0 (1 in place of 0 of train.seed); start all" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_processes_with_other_numbers_of_devices_are_told(tmp_path):
    port = free_port()
    job = ("--run-dir", "run", "--coordinator", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id")
    flags = [{"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"} for count in (4, 2)]
    processes = [start("vanilla", *SHORT, *job, str(n), cwd=tmp_path, **flags[n]) for n in (0, 1)]
    for process in processes:
        code, _, err = ended(process)
        assert code == 2, err
        assert "process 1 has 2 devices, process 0 has 4; give all of them as many" in err
        assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_data_that_one_process_cannot_read_end_both(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((50, 4, 4), np.uint8))
    port = free_port()
    job = ("--run-dir", tmp_path / "run", "--coordinator", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id")
    (tmp_path / "elsewhere").mkdir()
    processes = [
        start("vanilla", *SHORT, "--data.source", "npy:images.npy", *job, number, cwd=place)
        for number, place in ((0, tmp_path), (1, tmp_path / "elsewhere"))
    ]
    for process in processes:
        code, _, err = ended(process)
        assert code == 5, err
        assert "images.npy" in err


@pytest.mark.slow
def test_a_bug_that_one_process_meets_alone_ends_both_in_order(tmp_path):
    port = free_port()
    patched = (
        "import sys, aeflax.api as api, aeflax.cli as cli\n"
        "if sys.argv[-1] == '1':\n"
        "    api.load_data = lambda *_: 1 // 0\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    job = ("--run-dir", "run", "--coordinator", f"127.0.0.1:{port}", "--num-processes", "2", "--process-id")
    processes = [start_python("-c", patched, "train", *job, number, cwd=tmp_path) for number in (0, 1)]
    found = [ended(process) for process in processes]
    assert [one[0] for one in found] == [1, 1], [one[2] for one in found]
    assert "ZeroDivisionError: integer division or modulo by zero (on process 1)" in found[0][2]
    assert "Traceback" in found[1][2]


@pytest.mark.slow
def test_where_one_process_dies_the_other_ends_soon(tmp_path):
    processes = start_two(
        "vae", "--train.steps", "100000", "--train.log-every", "10", *RARELY, "--run-dir", "run", cwd=tmp_path
    )
    wait_until(training(tmp_path / "run"), processes)
    processes[1].kill()
    killed = time.monotonic()
    code, _, err = ended(processes[0])
    ended(processes[1])
    assert time.monotonic() - killed < 60
    # Where the lost connection is not told, JAX ends the process when it misses the other's heartbeat.
    assert code in (75, -signal.SIGABRT), err
    assert ("another process of this run is gone" if code == 75 else "heartbeat") in err


@pytest.mark.slow
def test_training_from_python_joins_what_the_caller_initialised(tmp_path):
    port = free_port()
    script = (
        "import sys, jax; i = int(sys.argv[1]);\n"
        f"jax.distributed.initialize('127.0.0.1:{port}', 2, i, cluster_detection_method='deactivate',\n"
        f"    coordinator_bind_address='127.0.0.1:{port}' if i == 0 else None)\n"
        "from dataclasses import replace\n"
        "import aeflax\n"
        "from aeflax.config import Train\n"
        "settings = replace(aeflax.presets.vae(4), train=Train(steps=20))\n"
        "first = aeflax.train(settings, run_dir='run', report=False)\n"
        "run = aeflax.train(replace(settings, train=Train(steps=10)), init_from='run')\n"
        "loaded = aeflax.load('run')\n"
        "codes = loaded.encode(loaded.split('test').values)\n"
        "assert first.summary == loaded.summary and first.summary['pca']['dim'] == 4\n"
        "assert (first.encode(loaded.split('test').values) == codes).all()\n"
        "print(run.step, run.summary['test']['elbo'], codes.shape, first.evaluate('test') == loaded.evaluate('test'))\n"
    )
    processes = [start_python("-W", "error", "-c", script, number, cwd=tmp_path) for number in (0, 1)]
    found = [ended(process) for process in processes]
    assert [one[0] for one in found] == [0, 0], [one[2] for one in found]
    said = [one[1].splitlines()[-1] for one in found]
    assert said[0] == said[1]
    assert said[0].startswith("10 ")
    assert said[0].endswith("(359, 4) True")
