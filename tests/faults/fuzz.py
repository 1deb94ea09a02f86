"""Searches for malformed inputs that a reader takes wrongly, with hypothesis.

    python tests/faults/fuzz.py --minutes 10     # what finds something goes into tests/faults/corpus/

`test_corpus.py` reads again whatever was found once.
"""

import argparse
import hashlib
import random
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent.parent.parent)]

from faults import malformed, mutations

CORPUS = Path(__file__).parent / "corpus"


def keep(kind: str, content: bytes) -> None:
    """Adds an input to the corpus, where `test_corpus.py` reads it again."""
    if len(content) <= 2**16:
        CORPUS.mkdir(exist_ok=True)
        (CORPUS / f"{kind}-{hashlib.sha256(content).hexdigest()[:12]}").write_bytes(content)


def search(minutes: float) -> int:
    """Tries inputs by hypothesis until the time is up, keeps the smallest of each fault, and returns their number."""
    import hypothesis
    from hypothesis import strategies

    deadline, known, tried = time.monotonic() + 60 * minutes, dict[str, str](), 0
    originals = {kind: valid() for kind, (_, valid, *_) in malformed.KINDS.items()}
    last: list[Any] = []

    @hypothesis.settings(
        max_examples=1000, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(
        kind=strategies.sampled_from(list(malformed.KINDS)),
        which=strategies.integers(0, 9),
        seeds=strategies.lists(strategies.integers(0, 2**32), min_size=1, max_size=3),
        tail=strategies.binary(max_size=40),
        cut=strategies.integers(0, 400),
    )
    def holds(kind: str, which: int, seeds: list[int], tail: bytes, cut: int) -> None:
        nonlocal tried
        if time.monotonic() > deadline:
            return
        content = originals[kind][which % len(originals[kind])]
        for number, seed in enumerate(seeds):
            change = malformed.KINDS[kind][2] if number == 0 else mutations.mutated
            content = change(content, random.Random(seed), originals[kind])
        if tail:
            content = content[:cut] + tail + content[cut + len(tail) :]
        tried += 1
        fault = malformed.fault_of(kind, content)
        signature = f"{kind} {':'.join(fault.split(':')[:3])}"
        if fault and signature not in known:
            last[:] = [kind, content, signature, fault]
            raise AssertionError(fault)

    while time.monotonic() < deadline:
        try:
            holds()
        except AssertionError:
            kind, content, signature, fault = last
            known[signature] = fault
            keep(kind, content)
            print(f"{kind}: {fault}", flush=True)  # noqa: T201
        except hypothesis.errors.Flaky as error:
            known[last[2]] = last[3]
            print(f"not every time: {last[0]}: {last[3]} ({error})"[:300], flush=True)  # noqa: T201
    print(f"{tried:,} inputs, {len(known)} faults", flush=True)  # noqa: T201
    return len(known)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    sys.exit(1 if search(parser.parse_args().minutes) else 0)
