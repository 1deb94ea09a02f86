"""The table of the five presets."""

from typing import Any

from experiments.tables.markdown import machine, table

Record = dict[str, Any]


def five_presets(mnist: Record, *fashion: Record) -> str:
    """One row a preset and data set; PCA at the same code size beside it."""
    columns = ("data", "preset", "code", "test MSE", "PCA's", "bce, nats a pixel", "also", "training")
    rows = [_row("MNIST", row["preset"], row) for row in mnist["figures"] if row["source"] == "mnist"]
    rows += [_row("Fashion-MNIST", one["name"].removeprefix("fashion_"), one["figures"]) for one in fashion]
    return f"{table(columns, rows)}\n\n10 epochs on {machine(mnist)}, the last one's figures."


def _row(data: str, preset: str, found: dict[str, Any]) -> tuple[str, ...]:
    return (
        data,
        f"`{preset}`",
        str(found["pca"]["dim"]),  # as many as the code has
        f"{found['test']['mse']:.5f}",
        f"{found['pca']['test']['mse']:.5f}" if found["pca"]["compresses"] else "no compression",
        f"{found['test']['bce']:.4f}",
        _also(found["test"]),
        f"{found['seconds']:.0f} s",
    )


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
