"""`aeflax bench`: what is counted is right, and every program can be measured. Speed itself is asserted nowhere."""

import json
import os
from dataclasses import replace

import pytest

from aeflax import cli, presets
from aeflax.bench.peaks import peak
from aeflax.bench.throughput import flops_per_step, measure
from aeflax.config import Data
from aeflax.config.defaults import resolve
from aeflax.errors import AeflaxWarning, ConfigError
from aeflax.program import prepare
from aeflax.report.throughput import throughput

SMALL = Data(source="synthetic:8x8x1:400", batch_size=32)


def small(preset):
    return replace(presets.PRESETS[preset](), data=SMALL)


def operations(experiment, shape):
    return flops_per_step(prepare(resolve(experiment, shape, 10_000), shape))


def test_operations_are_those_of_the_matrix_products():
    """Five products of a 784-64-784 autoencoder: the input's gradient is never needed. The rest is elementwise."""
    experiment = replace(presets.vanilla(latent_dim=64), data=replace(SMALL, batch_size=256))
    by_hand = 5 * 2 * 256 * 784 * 64
    # 15 operations a pixel of the likelihood, and Adam's on 101,200 parameters: 5 % of this small step.
    assert by_hand < operations(experiment, (28, 28, 1)) < 1.08 * by_hand


def test_operations_grow_with_the_batch():
    counts = [
        operations(replace(small("vanilla"), data=replace(SMALL, batch_size=n)), (8, 8, 1)) for n in (64, 128, 256)
    ]
    assert counts[2] - counts[1] == pytest.approx(2 * (counts[1] - counts[0]), rel=0.01)  # parameters cost once


@pytest.mark.slow
@pytest.mark.parametrize("preset", presets.PRESETS)
def test_every_preset_is_measured(preset):
    (found,) = measure(small(preset), seconds=0.05)
    assert found.batch_size == 32
    assert 0 < found.step_ms_p10 <= found.step_ms <= found.step_ms_p90
    assert found.images_per_second == pytest.approx(32 / (found.step_ms / 1e3))
    assert found.flops_per_second == pytest.approx(found.flops_per_step / (found.step_ms / 1e3))
    assert min(found.compile_seconds, found.memory_bytes, found.peak_flops_per_second) > 0
    assert 0 <= found.data_wait < 1


@pytest.mark.slow
def test_several_devices_and_streamed_data_are_measured():
    experiment = replace(small("vanilla"), train=replace(small("vanilla").train, placement="pmap"))
    (found,) = measure(replace(experiment, data=replace(SMALL, resident=False)), seconds=0.05)
    assert found.devices.startswith("4 ×")


@pytest.mark.slow
def test_data_that_are_streamed_faster_than_a_chunk_is_timed_are_measured(monkeypatch):
    """A chunk of two steps, of microseconds each: as on a device that trains through one in less than 50 ms."""
    monkeypatch.setattr("aeflax.engine.feed.CHUNK_BYTES", 2 * 32 * 64)
    (found,) = measure(replace(small("vanilla"), data=replace(SMALL, resident=False)), seconds=0.05)
    assert found.step_ms > 0


@pytest.mark.slow
def test_every_combination_is_measured_against_its_own_peak(tmp_path):
    found = measure(
        small("vanilla"),
        (16,),
        ("float32", "bfloat16"),
        ("jit", "mesh"),
        seconds=0.02,
        profile=tmp_path,
    )
    seen = [(one.placement, one.precision, one.batch_size) for one in found]
    assert seen == [(p, q, 16) for p in ("jit", "mesh") for q in ("float32", "bfloat16")]
    assert len({one.peak_source for one in found}) == 2
    assert list(tmp_path.glob("plugins/profile/*/*.trace.json.gz"))


def test_a_device_that_is_known_has_the_peak_of_its_datasheet():
    class Device:
        device_kind, platform = "NVIDIA A100-SXM4-40GB", "gpu"

    assert peak("bfloat16", Device()) == (312e12, 1555e9, "NVIDIA's datasheet")
    assert peak("float32", Device()).flops == 156e12
    Device.device_kind = "NVIDIA L40"
    assert peak("bfloat16", Device()).flops == 181e12


def test_the_figure_draws_every_program(tmp_path):
    one = {
        "devices": "1 × cpu (jit)",
        "placement": "jit",
        "precision": "float32",
        "batch_size": 16,
        "step_ms": 1.0,
        "step_ms_p10": 0.9,
        "step_ms_p90": 1.2,
        "images_per_second": 16000.0,
        "flops_per_step": 1e7,
        "bytes_per_step": 1e6,
        "flops_per_second": 1e10,
        "peak_flops_per_second": 1e11,
        "peak_bytes_per_second": 1e10,
    }
    drawn = throughput([one, one | {"batch_size": 64, "images_per_second": 64000.0}, one | {"precision": "bfloat16"}])
    assert drawn.startswith(b"\x89PNG")
    assert drawn != throughput([one])


@pytest.mark.slow
def test_a_program_whose_chunks_all_took_the_same_time_is_drawn():
    speeds = {"flops_per_step": 1e6, "bytes_per_step": 1e6, "flops_per_second": 1e9}
    limits = {"peak_flops_per_second": 1e11, "peak_bytes_per_second": 1e10}
    one = {"devices": "1 × cpu (jit)", "placement": "jit", "precision": "float32", "batch_size": 64} | speeds | limits
    for taken in (0.1, 0.3, 0.7, 0.6937517714281584):  # milliseconds, of which rounding differs
        times = dict.fromkeys(("step_ms", "step_ms_p10", "step_ms_p90"), taken)
        assert throughput([one | times | {"images_per_second": 64 / (taken / 1e3)}])


@pytest.fixture
def measured(monkeypatch):
    """Stands for measuring: batches of 64 lack memory. What it was told, in order, beside the warnings."""
    told = []

    def measure_one(program, *_):
        size = program.experiment.data.batch_size
        told.append((program.placement.name, size))
        if size == 64:
            raise RuntimeError("RESOURCE_EXHAUSTED: 1 TiB")
        return told[-1]

    monkeypatch.setattr("aeflax.bench.throughput._measure", measure_one)
    monkeypatch.setattr("aeflax.bench.throughput.peak", lambda _: None)
    monkeypatch.setattr("aeflax.bench.throughput.warn", told.append)
    return told


def test_what_cannot_be_is_told_before_anything_is_measured_and_left_out(measured):
    found = measure(small("vanilla"), batch_sizes=(32, 33), placements=("jit", "pmap"))
    assert found == measured[1:] == [("jit", 32), ("jit", 33), ("pmap", 32)]
    assert measured[0].startswith("batches of 33 (pmap, float32) are left out: ")
    assert "divide over 4 devices" in measured[0]


def test_what_lacks_memory_is_left_out_and_alone_an_error(measured):
    assert measure(small("vanilla"), batch_sizes=(32, 64, 128)) == [("jit", 32), ("jit", 128)]
    assert measured[2] == "batches of 64 (auto, float32) are left out: out of memory (RESOURCE_EXHAUSTED: 1 TiB)"
    with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED"):
        measure(small("vanilla"), batch_sizes=(64,))


@pytest.mark.slow
def test_the_json_lists_what_was_left_out(capsys):
    words = ["bench", "--batch-sizes", "16", "400", "--seconds", "0.05", "--json"]
    assert cli.main([*words, "--data.source", "synthetic:8x8x1:400"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert [one["batch_size"] for one in found["measurements"]] == [16]
    (left,) = found["left_out"]
    assert (left["batch_size"], left["precision"]) == (400, "float32")
    assert "a batch of 400 exceeds" in left["reason"]
    assert f"batches of 400 ({left['placement']}, float32) are left out: {left['reason']}" in printed.err


def test_a_sweep_of_which_nothing_can_be_measured_is_refused():
    with pytest.warns(AeflaxWarning, match="left out"), pytest.raises(ConfigError, match="none of 2 combinations"):
        measure(small("vanilla"), batch_sizes=(10_000, 20_000))


def test_a_batch_beyond_the_data_is_refused():
    with pytest.raises(ConfigError, match="a batch of 10000 exceeds the 320 training examples"):
        measure(small("vanilla"), batch_sizes=(10_000,))


@pytest.mark.slow
def test_the_command_prints_and_writes_its_measurements(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    out = tmp_path / "bench.json"
    figure = tmp_path / "bench.png"
    arguments = ["bench", "--batch-sizes", "16", "32", "--seconds", "0.05", "--json", "--out", str(out)]
    arguments += ["--figure", str(figure)]
    assert cli.main([*arguments, "--data.source", "synthetic:8x8x1:400"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert [one["batch_size"] for one in found["measurements"]] == [16, 32]
    assert json.loads(out.read_text()) == found
    assert "images/s" in printed.err
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "JAX_ENABLE_COMPILATION_CACHE" not in os.environ  # of a process that goes on


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--batch-sizes", "0"], "--batch-sizes must be at least 1, got 0"),
        (["--seconds", "0"], "--seconds must be a positive number, got 0"),
        (["vanila"], "did you mean vanilla?"),
    ],
)
def test_mistakes_are_one_sentence(arguments, said, capsys):
    assert cli.main(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err
