"""PyTorch's side, as its own documentation advises: fused Adam, gradients set to None, data preloaded as float tensors.

Variants: torch (eager), torch-channels-last, torch-compile (the loss compiled; channels last for convolutions),
torch-graphs (the same, replayed as CUDA graphs: `mode="reduce-overhead"`).

On a GPU the data stay on it, and float32 products may use TF32, as JAX' own default allows.
"""

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from worker import Round, serve
from workloads import Workload


def prepare(workload: Workload, variant: str, directory: Path) -> tuple[Round, dict[str, Any]]:
    """The model with the given weights, and one epoch of it."""
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high" if device == "cuda" else "highest")
    images = torch.from_numpy(np.load(directory / "images.npy")).to(device).float() / 255
    last = bool(workload.features) and variant != "torch"
    layout = torch.channels_last if last else torch.contiguous_format
    if workload.features:
        images = images.permute(0, 3, 1, 2).contiguous(memory_format=layout)
    else:
        images = images.reshape(len(images), -1)
    model = (Variational if workload.posterior else nn.Sequential)(*layers(workload))
    load(model, [values for _, values in sorted(np.load(directory / "weights.npz").items())])
    model = model.to(device, memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        """Mean over images of the negative log-likelihood (and KL), in nats."""
        if workload.posterior:
            logits, mean, log_var = model(batch)
            kl = -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
            return (F.binary_cross_entropy_with_logits(logits, batch, reduction="sum") + kl) / len(batch)
        return F.binary_cross_entropy_with_logits(model(batch), batch, reduction="sum") / len(batch)

    if variant in ("torch-compile", "torch-graphs"):
        loss_of = torch.compile(loss_of, mode="reduce-overhead" if variant == "torch-graphs" else None)

    def epoch() -> float:
        order = torch.randperm(len(images), device=device)
        total = torch.zeros((), device=device)
        for part in order.split(workload.batch):
            batch = images[part].contiguous(memory_format=layout) if last else images[part]
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(batch)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(batch)
        return float(total) / len(images)

    return epoch, {"versions": {"torch": torch.__version__}}


class Variational(nn.Module):
    """Encoder, mean and log-variance, sample, decoder: PyTorch's VAE example with logits."""

    def __init__(self, hidden: nn.Module, posterior: nn.Module, *decoder: nn.Module) -> None:
        super().__init__()
        self.hidden, self.posterior, self.decoder = hidden, posterior, nn.Sequential(*decoder)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits, mean and log-variance."""
        mean, log_var = self.posterior(self.hidden(images)).chunk(2, dim=1)
        code = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        return self.decoder(code), mean, log_var


def layers(workload: Workload) -> list[nn.Module]:
    """Modules in forward order. A VAE's: hidden, posterior, then the decoder's."""
    height, width, channels = workload.shape
    if not workload.features:
        sizes = (workload.pixels, *workload.widths)
        before = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
        after = [m for a, b in itertools.pairwise(sizes[:0:-1]) for m in (nn.Linear(a, b), nn.ReLU())]
        if workload.posterior:
            hidden = workload.widths[-1]
            code = [nn.Sequential(*before), nn.Linear(hidden, 2 * workload.code)]
        else:
            code = [*before, nn.Linear(sizes[-1], workload.code)]
        if not workload.widths:
            return [*code, nn.ReLU(), nn.Linear(workload.code, workload.pixels)]
        return [*code, nn.Linear(workload.code, sizes[-1]), nn.ReLU(), *after, nn.Linear(sizes[1], workload.pixels)]
    maps = (channels, *workload.features)
    shrunk = 2 ** len(workload.features)
    flat = maps[-1] * (height // shrunk) * (width // shrunk)
    found: list[nn.Module] = []
    for a, b in itertools.pairwise(maps):
        found += [nn.Conv2d(a, b, 3, 2, 1), nn.ReLU()]
    found += [nn.Flatten(), nn.Linear(flat, workload.code), nn.Linear(workload.code, flat), nn.ReLU()]
    found += [nn.Unflatten(1, (maps[-1], height // shrunk, width // shrunk))]
    for a, b in itertools.pairwise(reversed(maps)):
        found += [nn.Conv2d(a, 4 * b, 3, 1, 1), nn.PixelShuffle(2), nn.ReLU()]
    return found[:-1]


def load(model: nn.Module, arrays: list[np.ndarray]) -> None:
    """Kernels and biases of Flax' layers into PyTorch's: [in, out] -> [out, in], [h, w, in, out] -> [out, in, h, w].

    Flattened maps and sub-pixels are ordered otherwise here: a convolutional model starts from the same numbers,
    shuffled.
    """
    weighted = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    assert len(arrays) == 2 * len(weighted)
    with torch.no_grad():
        for module, kernel, bias in zip(weighted, arrays[::2], arrays[1::2], strict=True):
            value = kernel.T if kernel.ndim == 2 else kernel.transpose(3, 2, 0, 1)
            module.weight.copy_(torch.from_numpy(np.ascontiguousarray(value)))
            module.bias.copy_(torch.from_numpy(bias))


if __name__ == "__main__":
    serve(prepare)
