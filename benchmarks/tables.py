"""Tables of recorded measurements, written between their marks in README.md and docs/.

    python benchmarks/tables.py

The newest record of each workload is shown.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fault_tables
import scale_tables as scale
from records import newest, newest_of_machines, read
from workloads import WORKLOADS

HERE = Path(__file__).parent
PAGES = tuple(
    HERE.parent / name for name in ("README.md", "docs/performance.md", "docs/distributed.md", "docs/reliability.md")
)
NAMES = {
    "torch": "PyTorch",
    "torch-channels-last": "PyTorch, channels last",
    "torch-compile": "PyTorch, `torch.compile`",
    "keras-tensorflow": "Keras 3, TensorFlow, XLA",
    "keras-torch": "Keras 3, PyTorch",
    "keras-jax": "Keras 3, JAX",
    "torch-graphs": "PyTorch, `torch.compile`, CUDA graphs",
    "one-by-one": "aeflax, one after another",
    "loop": "JAX, the same step in a Python loop",
    "script": "JAX, a loop that reads its loss",
    "native": "aeflax with XLA's own convolutions",
    "flax-example": "Flax' VAE example",
}


def main() -> None:
    """Writes every table anew."""
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


def filled(text: str) -> str:
    """The text with its tables as the records have them."""

    def fill(match: re.Match[str]) -> str:
        return f"<!-- bench {match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- bench (\w+) -->\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def summary() -> str:
    """One row a workload and kind of processor: aeflax, its strongest rival, and the target."""
    heads = (
        "workload",
        "on",
        "aeflax, ms a step",
        "share of peak",
        "strongest peer",
        "peer's time ÷ aeflax's",
        "target",
    )
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    machines = {of: records for of, records in newest_of_machines("compare").items() if WORKLOADS.keys() <= {*records}}
    for name, workload in WORKLOADS.items():
        title = f"{name}: {workload.title}"
        for processor, records in machines.items():
            peer, row = _rival(records[name])
            own = records[name]["aeflax"]
            reached = "" if row["ratio"] >= workload.target else ", not reached"
            cells = (
                title,
                _short(processor),
                f"{own['ms_per_step']:.2f}",
                f"{own['share_of_peak']:.0%}",
                NAMES[peer],
                _ratio(row),
                f"{workload.target:g}{reached}",
            )
            lines.append(f"| {' | '.join(cells)} |")
            title = ""
    told = [_machine(processor, records) for processor, records in machines.items()]
    return "\n".join([*lines, "", f"{'. '.join(told)}. Medians of paired rounds, with the least and the largest."])


def peers() -> str:
    """Every peer of every workload, on the machine that was measured last."""
    lines = ["| workload | side | ms a step | peer's time ÷ aeflax's | pairs | loss, nats an image | peak memory |"]
    lines.append("|---|---|---|---|---|---|---|")
    records = newest_of_machines("compare")[read("compare")[-1]["machine"]["processor"].strip()]
    for name, record in ((name, records[name]) for name in WORKLOADS):
        own = record["aeflax"]
        rate = f"{own['flops_per_second'] / 1e9:.0f} GFLOP/s"
        lines.append(f"| {name} | **aeflax**, {rate} | {own['ms_per_step']:.2f} | 1 | | | {_memory(own)} |")
        for peer, row in record["peers"].items():
            cells = (
                "",
                NAMES[peer],
                f"{row['ms_per_step']:.2f}",
                _ratio(row),
                str(row["rounds"]),
                _losses(row),
                _memory(row),
            )
            lines.append(f"| {' | '.join(cells)} |")
    (processor,) = {record["machine"]["processor"].strip() for record in records.values()}
    return "\n".join([*lines, "", f"{_machine(processor, records)}."])


def gpu() -> str:
    """Every peer of every workload that was measured on a GPU."""
    lines = ["| workload | side | µs a step | peer's time ÷ aeflax's | loss, nats an image |", "|---|---|---|---|---|"]
    records = newest("gpu")
    for name, record in records.items():
        own = record["aeflax"]
        lines.append(f"| {name}: {WORKLOADS[name].title} | **aeflax** | {1e3 * own['ms_per_step']:.0f} | 1 | |")
        for peer, row in record["peers"].items():
            lines.append(f"| | {NAMES[peer]} | {1e3 * row['ms_per_step']:.0f} | {_ratio(row)} | {_losses(row)} |")
    record = next(iter(records.values()))
    torch = next(row["versions"]["torch"] for row in record["peers"].values() if "torch" in row["versions"])
    lines.append(f"\n{record['machine']['devices'][0]}, JAX {record['versions']['jax']}, PyTorch {torch}.")
    return "\n".join(lines)


def gpu_summary() -> str:
    """One row a workload that was measured on a GPU: aeflax and its strongest rival."""
    lines = ["| workload | aeflax, µs a step | strongest peer | peer's time ÷ aeflax's |", "|---|---|---|---|"]
    records = newest("gpu")
    for name, record in records.items():
        peer, row = _rival(record)
        cells = (f"{1e3 * record['aeflax']['ms_per_step']:.0f}", NAMES[peer], _ratio(row))
        lines.append(f"| {name}: {WORKLOADS[name].title} | {' | '.join(cells)} |")
    record = next(iter(records.values()))
    return "\n".join([*lines, "", f"{record['machine']['devices'][0]}, JAX {record['versions']['jax']}."])


def populations() -> str:
    """Time a model over the number of models at once, on each machine."""
    machines = {where: newest(name) for where, name in (("CPU", "populations"), ("GPU", "populations_gpu"))}
    sizes = [row["models"] for row in next(iter(machines["CPU"].values()))["rows"]]
    lines = [f"| workload | {' | '.join(map(str, sizes))} | share of peak at {sizes[-1]} |"]
    lines.append("|---" * (len(sizes) + 2) + "|")
    for where, records in machines.items():
        for name, record in sorted(records.items()):
            cells = [f"{row['us_per_model_step']:,.0f}" for row in record["rows"]]
            lines.append(f"| {name}, {where} | {' | '.join(cells)} | {record['rows'][-1]['share_of_peak']:.0%} |")
    cpu, device = (next(iter(records.values()))["machine"] for records in machines.values())
    lines.append(f"\nµs a model and step. CPU: {cpu['cores']} cores ({cpu['processor']}); GPU: {device['devices'][0]}.")
    return "\n".join(lines)


def kinds() -> str:
    """Each kind of code beside a plain one."""
    record = newest("kinds")["kinds"]
    lines = ["| code | ms a step | its time, in vanilla's |", "|---|---|---|"]
    lines += [f"| {row['kind']} | {row['ms_per_step']:.1f} | {_ratio(row)} |" for row in record["rows"]]
    machine = record["machine"]
    processor = f"{machine['cores']} CPU cores ({machine['processor'].strip()})"
    lines.append(f"\n{record['title']}; {processor}, JAX {record['versions']['jax']}. Medians of paired rounds.")
    return "\n".join(lines)


def whole() -> str:
    """Whole processes."""
    records = newest("whole")
    classic, start = records["W1"], records["T1"]
    low, high = classic["ratio_range"]
    took, bce = start["seconds"], classic["bce"]
    title = "W1: the classic example, import to last epoch"
    losses = f"bce {bce['aeflax']:.4f}; Keras {bce['keras']:.4f}"
    keras = f"Keras {classic['keras_seconds']:.1f} s: {classic['ratio']:.1f} ({low:.1f} to {high:.1f}) times"
    return "\n".join(
        (
            "| what a user waits for | aeflax | peer | target |",
            "|---|---|---|---|",
            f"| {title} ({losses}) | {classic['seconds']:.1f} s | {keras} | 5 times |",
            f"| T1: `aeflax --help` | {took['help']:.2f} s | `import keras`: {took['import_keras']:.1f} s | .5 s |",
            f"| T1: to the first step on MNIST, nothing compiled before | {took['cold']:.1f} s | | 5 s |",
            f"| T1: the same with a warm compilation cache | {took['warm']:.1f} s | | 3 s |",
        )
    )


def curves() -> str:
    """Cost of an image over one thing varied."""
    titles = {"images": "images in the data set", "batch": "batch size", "code": "units of the code"}
    titles["devices"] = "host devices on two cores"
    record = newest("curves")["curves"]
    lines = ["| varied | µs an image (share of peak) |", "|---|---|"]
    for curve, title in titles.items():
        cells = [
            f"{row['value']:,}: {row['ns_per_image'] / 1e3:.2f} ({row['share_of_peak']:.0%})"
            for row in record["rows"]
            if row["curve"] == curve
        ]
        lines.append(f"| {title} | {', '.join(cells)} |")
    machine = record["machine"]
    lines.append(f"\n{machine['cores']} CPU cores ({machine['processor'].strip()}), JAX {record['versions']['jax']}.")
    return "\n".join(lines)


def _rival(record: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The fastest peer of another library, and its row."""
    rivals = {peer: row for peer, row in record["peers"].items() if peer.startswith(("torch", "keras"))}
    return min(rivals.items(), key=lambda item: item[1]["ratio"])


def _losses(row: dict[str, Any]) -> str:
    own, theirs = row["losses"]
    return f"{theirs:.2f}, aeflax {own:.2f}" + (" (differs: void)" if row["void"] else "")


def _memory(row: dict[str, Any]) -> str:
    return f"{row['peak_bytes'] / 2**20:.0f} MiB" if "peak_bytes" in row else "not measured"


def _ratio(row: dict[str, Any]) -> str:
    low, high = row["ratio_range"]
    return f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})"


def _short(processor: str) -> str:
    """What a processor is called for short: AMD EPYC, Intel Xeon; with its family, where that is recorded."""
    name, _, family = processor.partition(", ")
    return " ".join([*name.replace("(R)", "").split()[:2], *([f"({family})"] if family else [])])


def _machine(processor: str, records: dict[str, dict[str, Any]]) -> str:
    """What the records of a processor were measured on, and by which JAX."""
    peaks = sorted(record["peak_flops_per_second"] / 1e9 for record in records.values())
    (cores,) = {record["machine"]["cores"] for record in records.values()}
    jax = " and ".join(sorted({record["versions"]["jax"] for record in records.values()}))
    peak = f"together {peaks[0]:.0f} to {peaks[-1]:.0f} GFLOP/s in a float32 product of 2048³"
    return f"{_short(processor)}: {cores} cores, {peak}; JAX {jax}"


TABLES: dict[str, Callable[[], str]] = {"summary": summary, "peers": peers, "whole": whole, "curves": curves} | {
    "gpu": gpu,
    "gpu_summary": gpu_summary,
    "populations": populations,
    "kinds": kinds,
    "agreement": scale.agreement,
    "overhead": scale.overhead,
    "exact": scale.exact,
    "memory": scale.memory,
    "stream": scale.stream,
    "growth": scale.growth,
    "faults": fault_tables.faults,
}


if __name__ == "__main__":
    main()
