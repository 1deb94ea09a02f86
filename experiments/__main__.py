"""Runs experiments and records their figures as JSON; writes the tables that show them.

    python -m experiments                       # those that fit in an hour together
    python -m experiments --long                # the others
    python -m experiments classic_keras pca     # some of them
    python -m experiments --tables              # only write the tables anew, from what is recorded

A file of this folder defines `CONFIG`, and `measure(out)` where one run is not enough. The record in results/NAME.json
holds the figures, the configuration, the seconds, and the commit, versions and machine that gave them. Runs are kept by
commit: one that was interrupted goes on with the code that began it; one that is finished is trained anew.
"""

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

from aeflax.config.plain import to_dict
from benchmarks.machine import describe
from experiments.runs import measured
from experiments.tables import write_tables

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in ("__main__", "runs"))
LONG = (  # a quarter of an hour and more each
    "binary_vae",
    "conv_autoencoder",
    "conv_denoiser",
    "deep_30",
    "importance_bound",
    "lifetime_svm",
    "one_class_mnist",
)


def main() -> None:
    """Runs what is asked for, then writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--long", action="store_true", help="those that take long, in place of the others")
    parser.add_argument("--tables", action="store_true", help="run nothing")
    parser.add_argument("--out", type=Path, default=Path("runs/experiments"), help="where the runs are kept")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"unknown experiment {', '.join(unknown)}; choose {', '.join(NAMES)}")
    if not options.tables:
        for name in options.names or [name for name in NAMES if (name in LONG) == options.long]:
            record(name, options.out / (describe()["commit"] or "no-commit") / name)
    write_tables()


def record(name: str, out: Path) -> None:
    """Runs one experiment and writes its record."""
    module = importlib.import_module(f"experiments.{name}")
    print(f"{name}: {module.__doc__.splitlines()[0]}", file=sys.stderr)  # noqa: T201
    started = time.perf_counter()
    figures = module.measure(out) if hasattr(module, "measure") else measured(module.CONFIG, out, name)[1]
    found = {
        "name": name,
        "figures": figures,
        "seconds": time.perf_counter() - started,
        "experiment": to_dict(module.CONFIG),
        **describe(),
    }
    path = HERE / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
