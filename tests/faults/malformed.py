"""Malformed inputs for every reader: it gives something valid, or says in one sentence what is wrong."""

import random
import resource
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from faults import mutations, readers, valid
from faults.harness import Fault, Outcome

SECONDS = 5  # until a reader counts as hung
MEMORY = 2**30  # that one input may take; an image of the most pixels that are read takes most of it
SENTENCE = 10_000  # characters of a message, at most
EACH = 20  # inputs of each kind that a seed tries


class Hung(BaseException):
    """A reader takes too long; not an Exception, which readers turn into sentences."""


Change = Callable[[bytes, random.Random, Sequence[bytes]], bytes]
# kind -> name of the file, what is valid, how it is changed, what reads it
KINDS: dict[str, tuple[str, Callable[[], list[bytes]], Change, Callable[[Path], None]]] = {
    "idx": ("train-images-idx3-ubyte", valid.idx, mutations.mutated, readers.of_idx),
    "idxgz": ("train-images-idx3-ubyte.gz", valid.idx, mutations.in_gzip, readers.of_idx),
    "npy": ("values.npy", valid.npy, mutations.mutated, readers.of_npy),
    "npz": ("values.npz", valid.npz, mutations.in_zip, readers.of_npz),
    "csv": ("table.csv", valid.csv, mutations.mutated, readers.of_csv),
    "csvgz": ("table.csv.gz", valid.csv, mutations.in_gzip, readers.of_csv),
    "png": ("image.png", valid.png, mutations.in_chunks, readers.of_png),
    "experiment": ("experiment.py", valid.experiment, mutations.mutated, readers.of_experiment),
    "manifest": ("experiment.json", valid.manifest, mutations.in_json, readers.of_manifest),
    "summary": ("summary.json", valid.summary, mutations.in_json, readers.of_summary),
    "metrics": ("metrics.jsonl", valid.metrics, mutations.in_json, readers.of_metrics),
}


def fault_of(kind: str, content: bytes) -> str:
    """What is wrong with how a reader takes an input; nothing, if it gives something valid or one sentence."""
    from aeflax.errors import ConfigError, DataError

    name, *_, read = KINDS[kind]
    before = signal.signal(signal.SIGALRM, _hung)
    peak, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="aeflax-fuzz-") as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = Path(folder) / name
        path.write_bytes(content)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            read(path)
            fault = ""
        except (DataError, ConfigError) as error:
            said = str(error)
            fault = "" if said.strip() and len(said.splitlines()) == 1 else f"no single line: {said[:200]!r}"
            if len(said) > SENTENCE + len(folder):
                fault = f"a message of {len(said)} characters: {said[:80]!r}"
        except Hung:
            fault = f"hung for {SECONDS} s"
        except Exception as error:
            fault = f"{_where(error)}: {type(error).__name__}: {str(error)[:150]!r}"
        except BaseException as error:
            fault = f"{_where(error)}: {type(error).__name__}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)
    if not fault and grown > MEMORY:
        fault = f"took {grown >> 20} MiB in {time.perf_counter() - started:.1f} s"
    return fault


def _hung(*_: object) -> None:
    raise Hung


def _where(error: BaseException) -> str:
    """The last line of aeflax that an error passed through."""
    found, trace = "", error.__traceback__
    while trace is not None:
        if "aeflax" in trace.tb_frame.f_globals.get("__name__", ""):
            found = f"{trace.tb_frame.f_globals['__name__']}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def attempt(seed: int, where: Path) -> list[Outcome]:
    """So many inputs of each kind."""
    chance, outcomes = random.Random(seed), []
    for kind, (_, make, change, _) in KINDS.items():
        originals = make()
        for number in range(EACH):
            content = change(chance.choice(originals), chance, originals)
            fault = fault_of(kind, content)
            outcomes.append(Outcome(f"seed {seed}, input {number}", kind, not fault, fault))
    return outcomes


FAULTS = [
    Fault(
        "malformed",
        "malformed IDX, NPY, NPZ, CSV, PNG, experiment files, run files",
        "something valid, or exit 2 or 5 with one sentence; no hang, bounded memory",
        attempt,
        short=2,
        long=50,
    ),
]
