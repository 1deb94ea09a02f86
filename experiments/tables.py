"""Tables of recorded results, written between their marks in README.md: `<!-- table NAME -->` and `<!-- end -->`."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
SETS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}


def write_tables() -> None:
    """Writes every table of README.md anew."""
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")


def filled(text: str) -> str:
    """The text with its tables as the records have them."""

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        return f"<!-- table {name} -->\n{TABLES[name](recorded(name))}\n<!-- end -->"

    return re.sub(r"<!-- table (\w+) -->\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def recorded(name: str) -> dict[str, Any]:
    """The record of an experiment."""
    found: dict[str, Any] = json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def five_presets(record: dict[str, Any]) -> str:
    """One row a preset and data set; PCA at the same code size beside it."""
    head = "| data | preset | code | test MSE | PCA's | bce, nats a pixel | also | training |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for row in record["figures"]:
        test, pca = row["test"], row["pca"]
        linear = f"{pca['test']['mse']:.5f}" if pca["compresses"] else "no compression"
        cells = (
            SETS[row["source"]],
            f"`{row['preset']}`",
            str(row["code"]),
            f"{test['mse']:.5f}",
            linear,
            f"{test['bce']:.4f}",
            _also(test),
            f"{row['seconds']:.0f} s",
        )
        lines.append(f"| {' | '.join(cells)} |")
    machine = record["machine"]
    lines.append(
        f"\n10 epochs on {machine['cores']} CPU cores ({machine['processor'].strip()}), the last one's figures."
    )
    return "\n".join(lines)


def _also(test: dict[str, float]) -> str:
    """What a variant is judged by beside its reconstruction of clean images."""
    if "elbo" in test:
        elbo, nats = f"{test['elbo']:.1f}", f"{test['kl']:.0f}"
        return f"ELBO {elbo} nats; a sampled code of {nats} nats: PCA's exact numbers hold more"
    if "l0" in test:
        return f"{test['l0']:.0f} of the units active, {test['dead_fraction']:.0%} dead"
    if "restored_psnr" in test:
        noisy, restored = f"{test['corrupted_psnr']:.1f}", f"{test['restored_psnr']:.1f}"
        return f"noisy images, restored from {noisy} to {restored} dB; PCA sees clean ones"
    return ""


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {"five_presets": five_presets}
