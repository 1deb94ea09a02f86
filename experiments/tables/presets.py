"""The table of the five presets."""

from typing import Any

from experiments.tables.markdown import SETS, machine, table


def five_presets(record: dict[str, Any]) -> str:
    """One row a preset and data set; PCA at the same code size beside it."""
    columns = ("data", "preset", "code", "test MSE", "PCA's", "bce, nats a pixel", "also", "training")
    rows = [
        (
            SETS[row["source"]],
            f"`{row['preset']}`",
            str(row["code"]),
            f"{row['test']['mse']:.5f}",
            f"{row['pca']['test']['mse']:.5f}" if row["pca"]["compresses"] else "no compression",
            f"{row['test']['bce']:.4f}",
            _also(row["test"]),
            f"{row['seconds']:.0f} s",
        )
        for row in record["figures"]
    ]
    return f"{table(columns, rows)}\n\n10 epochs on {machine(record)}, the last one's figures."


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
