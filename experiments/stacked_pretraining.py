"""Greedy layer-wise pretraining of a deep dense encoder, beside the same network trained at once.

    AEFLAX_DATA_DIR=DATA python -m experiments stacked_pretraining

The classic stacked recipe (Hinton & Salakhutdinov 2006, https://doi.org/10.1126/science.1127647, with autoencoders in
place of restricted Boltzmann machines, as Bengio et al. 2007): an autoencoder of one layer learns the images, a second
one the first one's codes, and so on; unrolled, their weights begin the deep autoencoder, which then is trained whole.
Protocol: MNIST, 784-256-128-64-30 and back, sigmoid hidden layers and a linear code, Adam 1e-3, batch 128; 2 epochs a
layer and then 5 of the whole, against 13 epochs of the whole from scratch (which cost more: its early epochs are of the
deep network too). Then classifiers with 10 and 100 labels per class begin with either encoder and with none. The last
epoch's figures; no choice was made on the test set.
Deviations: smaller than the paper's 784-1000-500-250-30, and far fewer epochs.
Time: under 3 minutes on two CPU cores that others used too.
"""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aeflax import presets
from aeflax.applications.finetune import finetune
from aeflax.applications.inference import Inference
from aeflax.config import Data, Dense, Deterministic, Experiment, Train
from aeflax.config.defaults import resolve
from aeflax.data.dataset import Dataset, Scaling, load
from aeflax.data.sources import Examples
from aeflax.engine.state import TrainState
from aeflax.evaluation.scores import evaluate
from aeflax.program import Program, prepare
from aeflax.training.trainer import Trainer

WIDTHS, CODE = (256, 128, 64), 30
LAYER_EPOCHS, EPOCHS = 2, 5
LABELS = (10, 100)
PLAIN = Scaling(np.zeros(1, np.float32), np.ones(1, np.float32))

_BASE = presets.vanilla(CODE)
CONFIG = replace(
    _BASE,
    data=Data(source="mnist"),
    model=replace(
        _BASE.model,
        backbone=Dense(widths=WIDTHS, activation="sigmoid"),
        bottleneck=Deterministic(activation="linear"),
    ),
    train=Train(epochs=EPOCHS),
)


def measure(out: Path) -> dict[str, Any]:
    """Test figures of the stacked and of the plain network, and what classifiers gain from each."""
    dataset = load(CONFIG.data)
    first = stacked(dataset)
    found = {}
    for name, weights, epochs in (
        ("stacked", first, EPOCHS),
        ("scratch", None, EPOCHS + LAYER_EPOCHS * (len(WIDTHS) + 1)),
    ):
        program, state = trained(replace(CONFIG, train=Train(epochs=epochs)), dataset, weights)
        test = evaluate(program, state, dataset, "test")
        gains = finetune(Inference(program, state, dataset.domain), dataset, LABELS)
        found[name] = {"epochs_of_the_whole": epochs, "test": test, "finetune": gains}
    return found


def stacked(dataset: Dataset) -> Any:
    """Trains one autoencoder a layer on the codes of those before -> parameters of the deep one."""
    values, sizes = dataset.train.values, (*WIDTHS, CODE)
    encoders, decoders = [], []
    for depth, size in enumerate(sizes):
        activation = "linear" if depth == len(WIDTHS) else "sigmoid"
        model = replace(
            CONFIG.model, latent_dim=size, backbone=Dense(), bottleneck=Deterministic(activation=activation)
        )
        layer = (
            dataset if depth == 0 else replace(dataset, train=Examples(values), test=Examples(values), scaling=PLAIN)
        )
        program, state = trained(replace(CONFIG, model=model, train=Train(epochs=LAYER_EPOCHS)), layer)
        params = jax.device_get(state.params)
        encoders.append(params["bottleneck"]["code"])
        decoders.append(params["decoder"]["output"])
        inference = Inference(program, state, layer.domain)
        values = np.concatenate(list(inference.encode([values])))
    last = len(sizes) - 1
    return {
        "encoder": {f"dense_{depth}": part for depth, part in enumerate(encoders[:-1])},
        "bottleneck": {"code": encoders[-1]},
        "decoder": {"output": decoders[0]} | {f"dense_{last - depth}": decoders[depth] for depth in range(1, last + 1)},
    }


def trained(experiment: Experiment, dataset: Dataset, params: Any = None) -> tuple[Program, TrainState]:
    """Trains an experiment, from parameters where some are given, and keeps nothing."""
    program = prepare(resolve(experiment, dataset.shape, len(dataset.train)), dataset.shape)
    trainer = Trainer(program, dataset, weights=None if params is None else (params, {}))
    with contextlib.closing(trainer):
        return program, trainer.fit()
