"""Faults of single sensors in a made-up plant: which score finds them, and which feature is blamed.

    python -m experiments sensor_faults

Expected: no published figure. Reconstruction-based contributions name the sensor of a fault that is large enough, where
the largest error need not (Alcala & Qin 2009, of PCA).
Protocol: 16 sensors follow 4 hidden states, half of them ever more flatly (tanh), with noise of .02 to .5 of their
deviation; 6,000 rows train, 2,000 are searched, in half of which one sensor, drawn at random, is stuck (at its value in
another row), biased (by 4 of its noise's deviations) or dead (at its mean). The preset `vanilla` with a Gaussian
likelihood, standardised features, a code of 4, else default settings; five seeds draw plant, faults and weights.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aeflax import presets
from aeflax.config import Data, GaussianLikelihood, Train

BASE = presets.vanilla(4)
CONFIG = replace(
    BASE,
    data=Data(source="array", scale="standard"),
    model=replace(BASE.model, likelihood=GaussianLikelihood()),
    train=Train(steps=4000),
)
FAULTS = ("stuck", "biased", "dead")
SENSORS, STATES, ROWS, SEARCHED = 16, 4, 6000, 2000
SEEDS = range(5)


def measure(out: Path) -> list[dict[str, Any]]:
    """One row a fault: AUROC by score and detector, and how often the sensor is named, with intervals over seeds."""
    import aeflax
    from aeflax.evaluation.intervals import share

    found: dict[str, dict[str, list[float]]] = {fault: {} for fault in FAULTS}
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        plant = _Plant(random)
        run = aeflax.train(
            replace(CONFIG, train=replace(CONFIG.train, seed=seed)), plant.rows(ROWS).astype(np.float32), report=False
        )
        for fault in FAULTS:
            rows = plant.rows(SEARCHED)
            faulty, sensor = np.arange(SEARCHED) % 2 == 1, random.integers(0, SENSORS, SEARCHED)
            odd = plant.broken(rows, sensor, fault)
            rows[faulty] = odd[faulty]
            for name, value in _judged(run, rows.astype(np.float32), faulty, sensor).items():
                found[fault].setdefault(name, []).append(value)
    return [{"fault": fault, **{name: share(values) for name, values in found[fault].items()}} for fault in FAULTS]


class _Plant:
    """Sensors that follow a few hidden states."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._loadings = random.normal(size=(STATES, SENSORS))
        self._noise = np.geomspace(0.02, 0.5, SENSORS)[random.permutation(SENSORS)]

    def rows(self, count: int) -> np.ndarray:
        """What the sensors tell while all is well, [count, SENSORS], each of variance 1 but for its noise."""
        states = self._random.normal(size=(count, STATES))
        told = states @ self._loadings / np.sqrt(np.sum(self._loadings**2, axis=0))
        told[:, ::2] = np.tanh(told[:, ::2]) / 0.63
        found: np.ndarray = told + self._noise * self._random.normal(size=told.shape)
        return found

    def broken(self, rows: np.ndarray, sensor: np.ndarray, fault: str) -> np.ndarray:
        """The rows with a fault of one sensor each."""
        found, place = rows.copy(), np.arange(len(rows))
        if fault == "biased":
            found[place, sensor] += 4 * self._noise[sensor]
        else:
            found[place, sensor] = rows[np.roll(place, 1), sensor] if fault == "stuck" else 0.0
        return found


def _judged(run: Any, rows: np.ndarray, faulty: np.ndarray, sensor: np.ndarray) -> dict[str, float]:
    names = np.array([f"feature {place}" for place in range(SENSORS)])
    errors = ((run.reconstruct(rows) - rows) / run.inference.domain.scaling.divisor) ** 2
    told = {}
    for kind in ("reconstruction", "standardized"):
        found = run.detect(rows, faulty, kind=kind, keep=False)
        told |= {f"{kind} {name}": (judged.metrics or {})["auroc"] for name, judged in found.detectors.items()}
        flagged = found.anomalies & faulty
        told[f"{kind} flagged"] = float(np.mean(found.anomalies[faulty]))
        told[f"{kind} named"] = float(np.mean(found.culprits["feature"][flagged] == names[sensor[flagged]]))
        told[f"{kind} largest error"] = float(
            np.mean((errors * found.weights)[flagged].argmax(axis=1) == sensor[flagged])
        )
    return told
