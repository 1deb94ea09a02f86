"""Tables and figures of what a decoder gives back: denoised images, compressed ones, samples."""

from typing import Any

from matplotlib.figure import Figure

from aeflax.report import compression as codecs
from aeflax.report import denoising as filters
from aeflax.report.canvas import styled
from experiments.tables.markdown import SETS, best, machine, table

Record = dict[str, Any]

_LEVELS = {"gaussian": (0.2, 0.4, 0.8), "masking": (0.25, 0.5, 0.75), "salt-pepper": (0.1, 0.2, 0.4)}
_OTHERS = [name for name in filters.METHODS if name != "model"]  # what every model of a data set is held against
_ACTIVE = 0.01  # nats; a dimension with less says nothing of the example


def denoising(record: Record) -> str:
    """PSNR: one row a data set, kind and level of noise; one column a method."""
    rows = []
    for source in SETS:
        models = {row["model"]: row["denoising"]["kinds"] for row in record["figures"] if row["source"] == source}
        dense = models["denoising"]
        for kind, levels in _LEVELS.items():
            for level in levels:
                at = {name: _at(kinds[kind], level) for name, kinds in models.items()}
                cells = [at[name]["methods"]["model"]["psnr"]["mean"] for name in models]
                others = [_at(dense[kind], level)["methods"][name]["psnr"]["mean"] for name in _OTHERS]
                trained = ", trained on" if at["denoising"]["trained"] else ""
                values = [others[0], *cells, *others[1:]]
                noise = f"{filters.KINDS[kind]} {level:g}{trained}"
                rows.append([SETS[source], noise, *best([f"{value:.1f}" for value in values], values)])
    heads = ["data", "noise", "noisy", "dense", "convolutional", *(filters.METHODS[name] for name in _OTHERS[1:])]
    first = record["figures"][0]["denoising"]
    said = (
        f"PSNR in dB, mean over {first['examples']} test images, on {machine(record)}. Filters' strengths are chosen "
        f"for each noise on {first['tuned_on']} training images; SSIM and intervals are in the record."
    )
    return f"{table(heads, rows)}\n\n{said}"


def compression(record: Record) -> str:
    """One row a data set and model: what the default step takes and gives, and what codecs need for the same."""
    rows = []
    for row in record["figures"]:
        found = row["rates"]
        place = codecs.default_place(found)
        own = found["points"][place]
        needed = {(o["name"], o["layout"]): o["points"][place] for o in found["at_same_psnr"]}
        lossless = min(
            curve["points"][0]["bits_per_pixel"]
            for curve in found["curves"]
            if curve["layout"] == "sheet" and curve["name"] in ("png", "webp_lossless")
        )
        codec = [needed["jpeg", "sheet"], needed["webp", "sheet"]]
        rows.append(
            [
                SETS[row["source"]],
                f"`{row['preset']}` {row['code']}",
                f"{own['bits_per_pixel']:.3f}",
                f"{own['psnr']:.1f}",
                f"{own['ssim']:.2f}",
                *(_needed(point, own["psnr"]) for point in codec),
                f"{lossless:.2f}",
            ]
        )
    heads = ["data", "model", "bits a pixel", "PSNR, dB", "SSIM", "JPEG for it", "WebP for it", "lossless"]
    said = (
        f"{record['figures'][0]['rates']['examples']:,} test images in one container, header and tables counted "
        f"and the model not, on {machine(record)}; codecs on one sheet of all images, which suits them better than a "
        "file each. Where a codec has no smaller file, what its smallest one takes and gives."
    )
    return f"{table(heads, rows)}\n\n{said}"


def generation(record: Record) -> str:
    """One row a data set and number of training images: how near samples come to them."""
    rows = []
    for row in record["figures"]:
        found = row["samples"]
        below = found["below"]
        rows.append(
            [
                SETS[row["source"]],
                f"{found['training_examples']:,}",
                f"{row['test']['elbo']:.1f}",
                f"{sum(kl > _ACTIVE for kl in row['kl'])} of {len(row['kl'])}",
                f"{found['median']['samples']:.4f}",
                f"{found['median']['test']:.4f}",
                _share(below["samples"]),
                f"{_share(found['own'])}, {found['expected']:.1%} by chance",
                "**yes**" if found["memorises"] else "no",
            ]
        )
    heads = [
        *(
            "data",
            "training images",
            "test ELBO, nats",
            "dimensions used",
            "sample to nearest",
            "test image to nearest",
        ),
        *("samples nearer than 1 % of test images", "nearest ones from training", "memorises"),
    ]
    said = (
        "Distances are squared errors per pixel, medians; shares with 95 % intervals. It memorises where samples are "
        f"too near too often, and nearer to training images than to test images; on {machine(record)}."
    )
    return f"{table(heads, rows)}\n\n{said}"


def denoising_figure(record: Record) -> Figure:
    """PSNR over the level of each kind of noise: the dense model on MNIST."""
    with styled():
        return filters.curves(record["figures"][0]["denoising"])


def compression_figure(record: Record) -> Figure:
    """Quality over bits per pixel: the dense model of 32 numbers on MNIST."""
    row = next(row for row in record["figures"] if (row["preset"], row["code"]) == ("vanilla", 32))
    with styled():
        return codecs.quality_over_rate(row["rates"])


def _at(entries: list[Record], level: float) -> Record:
    return next(entry for entry in entries if entry["level"] == level)


def _needed(point: Record | None, psnr: float) -> str:
    if point is None:
        return "–"
    bits = f"{point['bits_per_pixel']:.3f}"
    if point["psnr"] == psnr:
        return bits
    return f"{bits} ({point['psnr']:.1f} dB)" if point["psnr"] is not None else f"{bits} (lossless)"


def _share(found: Record) -> str:
    return f"{found['share']:.1%} ({found['low']:.1%}, {found['high']:.1%})"
