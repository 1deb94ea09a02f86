"""aeflax beside its peers: the same model, data, batch size and optimizer, in turn, on one machine.

    python benchmarks/compare.py                # all workloads, against the peers' environment .venv-peers
    python benchmarks/compare.py D1 C1 --rounds 7

Every side is a process of its own that waits while another one works. Each round of a peer is paired with a round of
aeflax just before it; the ratio of a pair is the peer's seconds over aeflax'. A peer's row is void unless both
sides' losses agree after the same number of epochs. One line of JSON a workload is appended to
benchmarks/results/compare.jsonl.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aeflax_side import write_inputs
from machine import describe
from workloads import WORKLOADS, Workload

HERE = Path(__file__).parent
WARM_UP = 2  # epochs: the first compiles, the second fills caches
PATIENCE = 60.0  # seconds of measured rounds after which a slow peer gets no further one


class Side:
    """A process that trains one epoch when asked."""

    def __init__(self, python: Path, script: str, name: str, variant: str, directory: str) -> None:
        command = [str(python), str(HERE / script), name, variant, directory]
        # TensorFlow says much when it starts; the file lives as long as the process.
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self.described: dict[str, Any] = {}
        self.seconds: list[float] = []
        self.losses: list[float] = []
        self.peak_bytes = 0

    def wait(self) -> None:
        """Waits until it has started, which all sides do at the same time."""
        self.described = self._read()

    def warm(self) -> None:
        """Lets it compile."""
        for _ in range(WARM_UP):
            self.run()
        self.seconds.clear()

    def run(self) -> float:
        """Trains one epoch; returns its seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._read()
        self.seconds.append(answer["seconds"])
        self.losses.append(answer["loss"])
        self.peak_bytes = answer["peak_bytes"]
        return self.seconds[-1]

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise SystemExit(f"{' '.join(map(str, self._process.args))} ended:\n{self._log.read()[-3000:]}")  # type: ignore[arg-type]
        answer: dict[str, Any] = json.loads(line)
        return answer


def measure(name: str, workload: Workload, variants: Sequence[str], peers: Path, rounds: int) -> dict[str, Any]:
    """The record of one workload, beside the given peers."""
    own = Path(sys.executable)
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        write_inputs(workload, Path(directory))

        def start(variant: str) -> Side:
            script = next(
                (f"{kind}_side.py" for kind in ("torch", "keras") if variant.startswith(kind)), "aeflax_side.py"
            )
            python = own if script == "aeflax_side.py" else peers
            side = Side(python, script, name, variant, directory)
            stack.callback(side.close)
            return side

        sides = [start(variant) for variant in ("aeflax", "peak", *variants)]
        for side in sides:  # one that still starts would take a processor from those that are measured
            side.wait()
        aeflax, peak, *others = sides
        aeflax.warm()
        peak.warm()
        rows = {}
        for variant, peer in zip(variants, others, strict=True):
            peer.warm()
            ratios = []
            for _ in range(rounds):
                own_seconds = aeflax.run()
                ratios.append(peer.run() / own_seconds)
                peak.run()
                if sum(peer.seconds) > PATIENCE:
                    break
            rows[variant] = row(workload, aeflax, peer, ratios)
            print(f"{name}  {variant:<20} {_line(rows[variant])}", flush=True)
        flops = aeflax.described["flops_per_step"]
        best = peak.described["flops_per_step"] / statistics.median(peak.seconds)
        own_ms = 1e3 * statistics.median(aeflax.seconds) / workload.steps
        return {
            "workload": name,
            "aeflax": {
                "ms_per_step": own_ms,
                "images_per_second": workload.images / statistics.median(aeflax.seconds),
                "flops_per_step": flops,
                "flops_per_second": flops / (own_ms / 1e3),
                "share_of_peak": flops / (own_ms / 1e3) / best,
                "peak_bytes": aeflax.peak_bytes,
                "versions": aeflax.described["versions"],
            },
            "peak_flops_per_second": best,
            "peers": rows,
            **describe(),
        }


def row(workload: Workload, aeflax: Side, peer: Side, ratios: list[float]) -> dict[str, Any]:
    """What is recorded of one peer."""
    epoch = len(peer.losses) - 1
    loss, own = peer.losses[epoch], aeflax.losses[epoch]
    return {
        "ms_per_step": 1e3 * statistics.median(peer.seconds) / workload.steps,
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "rounds": len(ratios),
        "epochs": epoch + 1,
        "losses": [own, loss],
        "void": abs(loss - own) > workload.tolerance * abs(own),
        "peak_bytes": peer.peak_bytes,
        "versions": peer.described["versions"],
    }


def _line(row: dict[str, Any]) -> str:
    low, high = row["ratio_range"]
    void = "   VOID: losses differ" if row["void"] else ""
    own, loss = row["losses"]
    ratio = f"{row['ratio']:.2f} × aeflax' time ({low:.2f} to {high:.2f})"
    return f"{row['ms_per_step']:8.2f} ms/step   {ratio}   loss {loss:.2f}, ours {own:.2f}{void}"


def main() -> None:
    """Measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)}; none: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sides", nargs="+", metavar="SIDE", help="peers, in place of each workload's own")
    parser.add_argument("--peers", type=Path, default=HERE.parent / ".venv-peers" / "bin" / "python")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "compare.jsonl")
    options = parser.parse_args()
    if unknown := sorted(set(options.workloads) - set(WORKLOADS)):
        parser.error(f"unknown workload {', '.join(unknown)}; choose {', '.join(WORKLOADS)}")
    if not options.peers.exists():
        parser.error(f"{options.peers} does not exist; `make bench` creates the peers' environment")
    for name in options.workloads or WORKLOADS:
        workload = WORKLOADS[name]
        record = measure(name, workload, options.sides or workload.peers, options.peers, options.rounds)
        with options.out.open("a") as file:
            file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
