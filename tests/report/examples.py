"""Materials of small synthetic runs, one of each kind that a report has to show."""

from dataclasses import replace
from typing import Any

import numpy as np

from aeflax.report.material import Material

SHAPE = (6, 5, 1)
COUNT = 40


def material(shape: tuple[int, ...] = SHAPE, code: int = 4, count: int = COUNT, **changes: Any) -> Material:
    """A finished vanilla run; equal arguments give equal material."""
    random = np.random.RandomState(0)
    examples = random.rand(count, *shape).astype(np.float32)
    found = Material(
        name="vanilla-digits-1",
        experiment={
            "data": {"source": "digits", "batch_size": 128, "classes": [], "resident": None},
            "model": {
                "latent_dim": code,
                "backbone": {"kind": "dense", "widths": [400, 200]},
                "corruption": {"kind": "none"},
                "bottleneck": {"kind": "deterministic"},
                "penalties": {"kind": "standard", "l1": None, "kl": {"beta": 0.5}},
            },
            "optimizer": {"name": "adam", "learning_rate": 0.001},
            "train": {"steps": 400},
        },
        summary={
            "status": "done",
            "step": 400,
            "epoch": 4.0,
            "seconds": 1.25,
            "images_per_second": 376097.4,
            "compile_seconds": 2.0,
            "parameters": 2128,
            "skipped_updates": 0,
            "state_sha256": "ab12",
            "train": {"bce": 0.2487, "mse": 0.0086319, "psnr": 21.104},
            "test": {"bce": 0.2507634, "mse": 0.0090868, "psnr": 20.856},
            "pca": {"dim": code, "compresses": True, "test": {"mse": 0.011297, "psnr": 19.834}},
        },
        history=[
            record
            for step in (100, 200, 300, 400)
            for record in (
                {"step": step, "epoch": step / 100, "split": "train", "loss": 20 - step / 100, "gradient_norm": 1.0},
                {"step": step, "epoch": step / 100, "split": "test", "bce": 0.3 - step / 10**4, "l0": None},
            )
        ],
        versions={"python": "3.11.9", "aeflax": "0.1.0"},
        data={"test": {"shape": [count, *shape], "dtype": "uint8", "sha256": "cd34"}},
        command="aeflax train vanilla --data.source digits",
        examples=examples,
        labels=np.arange(count) % 10,
        inputs=examples,
        reconstructions=np.clip(examples + 0.1 * random.randn(*examples.shape), 0, 1).astype(np.float32),
        codes=random.randn(count, code).astype(np.float32),
        samples=None,
        grid=None,
        grid_dimensions=None,
        grid_sigmas=None,
        dictionary=None,
        usage=None,
        filters=None,
        unit_range=True,
    )
    return replace(found, **changes)


def denoising(shape: tuple[int, ...] = SHAPE) -> Material:
    base = material(shape)
    noise = np.random.RandomState(1).rand(*base.examples.shape).astype(np.float32)
    metrics = {"restored_psnr": 19.2, "corrupted_psnr": 10.1, "bce": 0.2}
    return replace(base, inputs=noise, summary={**base.summary, "test": metrics})


def vae(shape: tuple[int, ...] = SHAPE, code: int = 4) -> Material:
    base = material(shape, code)
    random, terms = np.random.RandomState(2), {"reconstruction_nats": 80.5, "kl": 20.25}
    history = [
        {"step": 100, "split": "train", "loss": 120.0, **terms},
        {"step": 100, "split": "validation", "elbo": -110.0, **terms},
        {"step": 200, "split": "train", "loss": 101.0, **terms},
        {"step": 200, "split": "validation", "elbo": -101.0, **terms},
    ]
    metrics = {"elbo": -100.75, **terms}
    return replace(
        base,
        name="vae",
        experiment={**base.experiment, "model": {**base.experiment["model"], "bottleneck": {"kind": "posterior"}}},
        history=history,
        summary={
            **base.summary,
            "validation": metrics,
            "test": metrics,
            "best": {"step": 200, "monitor": "elbo", "value": -101.0},
            "stopped_early": True,
        },
        samples=random.rand(64, *shape).astype(np.float32),
        grid=random.rand(5, 5, *shape).astype(np.float32),
        grid_dimensions=(code - 1, 0),
        grid_sigmas=np.linspace(-1.5, 1.5, 5),
    )


def sparse(shape: tuple[int, ...] = SHAPE, units: int = 70) -> Material:
    base = material(shape, units)
    codes = np.maximum(base.codes, 0)
    codes[:, 0] = 0  # a dead unit
    return replace(
        base,
        codes=codes,
        dictionary=np.random.RandomState(3).randn(units, *shape).astype(np.float32),
        usage=np.linspace(0.9, 0.0, units),
        summary={**base.summary, "test": {**base.summary["test"], "l0": 30.5}},
        history=[*base.history, {"step": 200, "split": "test", "bce": 0.28, "l0": 33.0}],
    )


def conv(channels: int = 1) -> Material:
    base = material((6, 5, channels))
    return replace(base, filters=np.random.RandomState(4).randn(11, 3, 3, channels).astype(np.float32))


def tiny() -> Material:
    """One example of one pixel, a code of one unit, nothing recorded."""
    return material((1, 1, 1), 1, 1, labels=None, history=[], summary={}, versions={}, data={}, experiment={})


MATERIALS = {
    "image": material,
    "vector": lambda: material((12,)),
    "long vector": lambda: material((50,), labels=None, unit_range=False),
    "unlabelled": lambda: material(labels=None),
    "continuous labels": lambda: material(labels=np.linspace(0, 1, COUNT)),
    "many classes": lambda: material(labels=np.arange(COUNT) % 13),
    "one dimension": lambda: material(code=1),
    "one dimension, unlabelled": lambda: material(code=1, labels=None),
    "denoising": denoising,
    "denoising vector": lambda: denoising((12,)),
    "vae": vae,
    "vae vector": lambda: vae((12,)),
    "sparse": sparse,
    "sparse vector": lambda: sparse((12,)),
    "sparse colour": lambda: sparse((6, 5, 3), 5),
    "conv": conv,
    "conv colour": lambda: conv(3),
    "conv two channels": lambda: conv(2),
    "wide": lambda: material((2, 40, 1)),
    "any range": lambda: material(unit_range=False),
    "not finite": lambda: material(
        reconstructions=np.full((COUNT, *SHAPE), np.nan, np.float32),
        codes=np.full((COUNT, 4), np.inf, np.float32),
        history=[{"step": 1, "split": "train", "loss": float("nan")}],
    ),
    "tiny": tiny,
}
