"""Tables of what `scale.py` recorded."""

from typing import Any

from records import newest


def agreement() -> str:
    """How far each placement ends from jit on one device, one row a variant."""
    record = newest("scale")["agreement"]
    columns = [
        (name, devices, processes)
        for devices, processes in ((2, 1), (4, 1), (8, 1), (4, 2))
        for name in ("pmap", "mesh")
    ]
    titles = [f"{name} {devices}{' in 2 processes' if processes > 1 else ''}" for name, devices, processes in columns]
    lines = [f"| variant | {' | '.join(titles)} | exact, on 1, 2, 4, 8 and in 2 processes |"]
    lines.append("|---" * (len(titles) + 2) + "|")
    for variant in dict.fromkeys(row["variant"] for row in record["rows"]):
        rows = [row for row in record["rows"] if row["variant"] == variant]
        found = {
            (row["placement"], row["devices"], row["processes"]): f"{row['difference']:.0e}"
            for row in rows
            if not row["exact"]
        }
        exact = [row for row in rows if row["exact"]]
        bits = "the same bits" if len(exact) == 5 and all(row["same_bits"] for row in exact) else "**differ**"
        lines.append(f"| {variant} | {' | '.join(found[column] for column in columns)} | {bits} |")
    return "\n".join([*lines, f"\n{_machine(record)}"])


def overhead() -> str:
    """Microseconds of a step that computes next to nothing."""
    record = newest("scale")["overhead"]
    found = {(row["placement"], row["devices"]): row for row in record["rows"]}
    counts = sorted({devices for _, devices in found})
    lines = [f"| µs a step | {' | '.join(f'{n} devices' if n > 1 else '1 device' for n in counts)} |"]
    lines.append("|---" * (len(counts) + 1) + "|")
    for name in ("jit", "pmap", "mesh", "one psum", "one device's computation"):
        rows = [found.get((name, n)) for n in counts]
        cells = [
            f"{row['us_per_step']:.0f} ({row['range'][0]:.0f} to {row['range'][1]:.0f})" if row else "" for row in rows
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, f"\n{_machine(record)}"])


def exact() -> str:
    """Steps of the exact mode beside plain ones."""
    record = newest("scale")["exact"]
    lines = [
        "| preset | batch | plain, ms a step | exact, ms a step | exact, in plain's time |",
        "|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        low, high = row["range"]
        cells = (row["preset"], f"{row['batch_size']:,}", f"{row['plain_ms']:.2f}", f"{row['exact_ms']:.2f}")
        lines.append(f"| {' | '.join(cells)} | {row['ratio']:.2f} ({low:.2f} to {high:.2f}) |")
    return "\n".join([*lines, f"\n{_machine(record)}"])


def memory() -> str:
    """What a device holds, beside the formula."""
    record = newest("scale")["memory"]
    rows = record["rows"]
    lines = ["| devices | formula, MB | live arrays, MB | arguments of the step, MB | its temporaries, MB |"]
    lines.append("|---|---|---|---|---|")
    for row in rows:
        kinds = ("formula_bytes", "live_bytes", "argument_bytes", "temporary_bytes")
        lines.append(f"| {row['devices']} | {' | '.join(f'{row[kind] / 1e6:,.1f}' for kind in kinds)} |")
    return "\n".join([*lines, f"\n{rows[0]['parameters'] / 1e6:.0f} million parameters with Adam. {_machine(record)}"])


def stream() -> str:
    """Streaming against the same data resident."""
    record = newest("scale")["stream"]
    names = {"resident": "resident", "npy": "memory-mapped NPY", "tfds": "ArrayRecord (TFDS)"}
    lines = ["| data | ms a step | throughput, of resident | data wait |", "|---|---|---|---|"]
    for row in record["rows"]:
        low, high = row["share_range"]
        share = f"{row['share_of_resident']:.1%} ({low:.1%} to {high:.1%})"
        lines.append(f"| {names[row['source']]} | {row['step_ms']:.2f} | {share} | {row['data_wait']:.1%} |")
    return "\n".join([*lines, f"\n{_machine(record)}"])


def growth() -> str:
    """Cost and memory as the data grow, streamed."""
    record = newest("scale")["growth"]
    first = record["rows"][0]
    lines = ["| images of 32×32×3 | on disk | µs an image | peak memory | of the first | data wait |"]
    lines.append("|---|---|---|---|---|---|")
    for row in record["rows"]:
        cells = (
            f"{row['images']:,}",
            f"{row['bytes'] / 1e9:.2f} GB",
            f"{row['us_per_image']:.2f} ({row['us_range'][0]:.2f} to {row['us_range'][1]:.2f})",
            f"{row['peak_bytes'] / 2**20:,.0f} MiB",
            f"{row['peak_bytes'] / first['peak_bytes']:.2f}",
            f"{row['data_wait']:.1%}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, f"\n{_machine(record)}"])


def _machine(record: dict[str, Any]) -> str:
    machine, versions = record["machine"], record["versions"]
    return f"{machine['cores']} CPU cores ({machine['processor'].strip()}), JAX {versions['jax']}."
