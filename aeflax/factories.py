"""From one part of the configuration to what it stands for.

Each function dispatches on the part's class. To add a kind of your own, write a frozen dataclass that fills the slot
and register its factory; nothing in aeflax changes:

    @dataclass(frozen=True, kw_only=True)
    class Blur(config.Corruption, kind="blur"):
        radius: float = 1.0

    @factories.corruption.register
    def _(part: Blur):
        return lambda keys, images, values: blur(images, values["radius"])

A factory must not read the part's traced numbers (every float): they arrive as `values` inside the step.
"""

import functools
from dataclasses import fields
from pathlib import Path
from types import CodeType
from typing import Any

import flax.linen as nn

from aeflax import config, objectives
from aeflax import corruption as corruptions
from aeflax.errors import ConfigError
from aeflax.models import bottlenecks
from aeflax.models.conv import ConvDecoder, ConvEncoder
from aeflax.models.dense import DenseDecoder, DenseEncoder

HERE = Path(__file__).parent


@functools.singledispatch
def backbone(part: config.Backbone, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    """(encoder, decoder) for examples of a shape."""
    raise _unregistered(part)


@backbone.register
def _(part: config.Dense, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    encoder = DenseEncoder(part.widths, part.activation)
    return encoder, DenseDecoder(tuple(reversed(part.widths)), part.activation, shape)


@backbone.register
def _(part: config.Conv, shape: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
    height, width, channels = shape
    shared = (part.kernel, part.stride, part.activation, part.bias, part.normalization, part.spatial)
    encoder = ConvEncoder(part.features, *shared, down=part.down)
    return encoder, ConvDecoder(part.features, *shared, tuple(part.sizes(height, width)), channels, up=part.up)


@functools.singledispatch
def bottleneck(part: config.Bottleneck, features: int, project: bool) -> nn.Module:
    """The bottleneck; `project` False where the encoder's last feature map already is the code."""
    raise _unregistered(part)


@bottleneck.register(config.Deterministic)
@bottleneck.register(config.Sparse)
def _(part: config.Deterministic | config.Sparse, features: int, project: bool) -> nn.Module:
    return bottlenecks.Deterministic(features, part.activation or "linear", project)


@bottleneck.register
def _(part: config.TopK, features: int, project: bool) -> nn.Module:
    return bottlenecks.TopK(features, project)


@bottleneck.register
def _(part: config.GaussianPosterior, features: int, project: bool) -> nn.Module:
    return bottlenecks.GaussianPosterior(features, part.samples, project)


@bottleneck.register
def _(part: config.BatchTopK, features: int, project: bool) -> nn.Module:
    return bottlenecks.BatchTopK(features, project)


@bottleneck.register
def _(part: config.JumpReLU, features: int, project: bool) -> nn.Module:
    return bottlenecks.JumpReLU(features, project)


@bottleneck.register
def _(part: config.Lifetime, features: int, project: bool) -> nn.Module:
    return bottlenecks.Lifetime(features, project)


@functools.singledispatch
def memory(part: config.Bottleneck) -> bottlenecks.Memory | None:
    """How the bottleneck's model state follows training; None where it has none."""
    return None


@memory.register
def _(part: config.BatchTopK) -> bottlenecks.Memory:
    return bottlenecks.RUNNING_THRESHOLD


@functools.singledispatch
def corruption(part: config.Corruption) -> corruptions.Corruption:
    """The corruption process, (keys [B], images, values) -> images."""
    raise _unregistered(part)


@corruption.register
def _(part: config.NoCorruption) -> corruptions.Corruption:
    return corruptions.identity


@corruption.register
def _(part: config.GaussianNoise) -> corruptions.Corruption:
    return corruptions.gaussian(clip=part.clip)


@corruption.register
def _(part: config.Masking) -> corruptions.Corruption:
    return corruptions.masking


@corruption.register
def _(part: config.SaltPepper) -> corruptions.Corruption:
    return corruptions.salt_pepper


@functools.singledispatch
def likelihood(part: config.Likelihood) -> objectives.Likelihood:
    """The likelihood of the targets given the outputs."""
    raise _unregistered(part)


@likelihood.register
def _(part: config.Bernoulli) -> objectives.Likelihood:
    return objectives.BERNOULLI


@likelihood.register
def _(part: config.GaussianLikelihood) -> objectives.Likelihood:
    return objectives.gaussian(learned=part.scale is None, bounded=part.bounded)


@functools.singledispatch
def penalty(part: Any) -> objectives.Penalty:
    """A penalty: (outputs, batch mean, values, step) -> (cost [B], reported value [B])."""
    raise _unregistered(part)


@penalty.register
def _(part: config.L1) -> objectives.Penalty:
    return objectives.l1


@penalty.register
def _(part: config.L0) -> objectives.Penalty:
    return objectives.l0


@penalty.register
def _(part: config.Rate) -> objectives.Penalty:
    return objectives.rate


@penalty.register
def _(part: config.KL) -> objectives.Penalty:
    return objectives.kl


def chosen(model: config.Model) -> dict[str, Any]:
    """The factories that the parts of a model have now, by path: what is built by others is another model."""
    record = model.penalties
    penalties = {f"penalties/{field.name}": getattr(record, field.name) for field in fields(record)}
    pairs: dict[str, tuple[Any, Any]] = {
        "backbone": (backbone, model.backbone),
        "bottleneck": (bottleneck, model.bottleneck),
        "memory": (memory, model.bottleneck),
        "corruption": (corruption, model.corruption),
        "likelihood": (likelihood, model.likelihood),
        **{path: (penalty, part) for path, part in penalties.items() if part is not None},
    }
    return {path: registry.dispatch(type(part)) for path, (registry, part) in pairs.items()}


def own(model: config.Model) -> dict[str, CodeType]:
    """The code of those factories of a model that a user has written, by path."""
    codes = {path: made.__code__ for path, made in chosen(model).items() if hasattr(made, "__code__")}
    return {path: code for path, code in codes.items() if HERE not in Path(code.co_filename).absolute().parents}


def _unregistered(part: Any) -> ConfigError:
    slots = {"corruption": config.Corruption, "backbone": config.Backbone, "bottleneck": config.Bottleneck}
    slots |= {"likelihood": config.Likelihood}
    slot = next((name for name, base in slots.items() if isinstance(part, base)), "penalty")
    name = type(part).__name__
    return ConfigError(f"no factory is registered for {name}; write one below @factories.{slot}.register")
