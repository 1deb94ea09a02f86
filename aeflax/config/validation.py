"""What makes an experiment impossible: every problem is found at once, before anything heavy is imported."""

import re
from contextlib import suppress
from dataclasses import fields

from aeflax.config import (
    KL,
    Bernoulli,
    Conv,
    Corruption,
    Data,
    Dense,
    Experiment,
    GaussianLikelihood,
    GaussianPosterior,
    JumpReLU,
    Model,
    NoCorruption,
    Optimizer,
    Penalties,
    Sparse,
    Train,
)
from aeflax.config.schema import problems
from aeflax.config.sources import ARRAY, is_table, source_fault
from aeflax.errors import ConfigError

UNFIT = (AttributeError, TypeError, ValueError, ArithmeticError)  # what computing with unfit values may raise
EXACT_PARTS = 8  # into which `train.exact` cuts every batch: the SHARDS of the engine
MAX_TEMPERATURE = 1e6  # of samples: far beyond where a decoder saturates, and no code overflows
# Names in records and tables, which no penalty of a user's own may have.
RECORDED = {
    *("step", "epoch", "split", "loss", "auxk", "weight", "gradient_norm", "images_per_second", "data_wait"),
    *("bce", "bce_floor", "mse", "pca_mse", "psnr", "reconstruction_nats", "elbo", "restored_bce", "restored_mse"),
    *("restored_psnr", "corrupted_psnr", "l0", "mean_activation", "active", "dead_fraction", "idle_fraction"),
}

Rules = dict[str, bool]  # what is said of an experiment -> whether it is so


def require_experiment(experiment: object) -> None:
    """Raises ConfigError for anything else, such as a preset's name."""
    if not isinstance(experiment, Experiment):
        given = repr(experiment) if isinstance(experiment, str) else f"a {type(experiment).__name__}"
        mend = "take one from aeflax.presets, as in train(presets.vae(), data)"
        raise ConfigError(f"{given} is not an Experiment; {mend}")


def validate(experiment: Experiment) -> Experiment:
    """Returns the experiment unchanged, or raises ConfigError listing every problem at once."""
    require_experiment(experiment)
    found = problems(experiment)
    with suppress(*UNFIT if found else ()):  # a value of a wrong type or size, which is reported
        found += _contradictions(experiment)
    if found:
        raise ConfigError("; ".join(found))
    return experiment


def _contradictions(experiment: Experiment) -> list[str]:
    """Fields that are fine alone and impossible together."""
    data, model, train = experiment.data, experiment.model, experiment.train
    rules = {
        **_model_rules(model),
        **_dictionary_rules(model),
        **_name_rules(model.penalties),
        **_optimizer_rules(experiment.optimizer),
        **_budget_rules(experiment),
        **_placement_rules(train, data.batch_size),
        **_data_rules(data),
    }
    source = source_fault(str(data.source))
    found = ([source] if source else []) + [message for message, broken in rules.items() if broken]
    if data.scale == "standard":
        why, table = "--data.scale standard leaves that range", is_table(data.source)
        found += unit_range_faults(experiment, why, table=table)
    return found


def _model_rules(model: Model) -> Rules:
    bottleneck, penalties, backbone = model.bottleneck, model.penalties, model.backbone
    posterior = isinstance(bottleneck, GaussianPosterior)
    low, high = _levels(model.corruption)
    rules = {
        "model.penalties.kl needs a posterior; add --model.bottleneck posterior": (
            penalties.kl is not None and not posterior
        ),
        "model.penalties.rate needs activations in [0, 1]; use --model.bottleneck sparse with the sigmoid activation": (
            penalties.rate is not None and not has_sigmoid_code(model)
        ),
        "model.penalties.l0 needs thresholds to learn; add --model.bottleneck jump-relu": (
            penalties.l0 is not None and not isinstance(bottleneck, JumpReLU)
        ),
        "model.bottleneck.samples above 1 trains the importance-weighted bound, which is that of beta 1, without "
        "warm-up and free bits; set --model.penalties.kl.beta 1, or samples to 1": (
            isinstance(bottleneck, GaussianPosterior) and bottleneck.samples > 1 and penalties.kl != KL()
        ),
        "model.backbone.tied transposes the one layer that leads to a code, and a posterior has two; leave it out": (
            _tied(model) and posterior
        ),
        "model.backbone.features is empty; name the channels of at least one layer": (
            isinstance(backbone, Conv) and not backbone.features
        ),
        f"the lower corruption level {low} exceeds the upper one {high}; swap them": low > high,
    }
    for name in ("k", "mean_k"):
        kept = getattr(bottleneck, name, 0)
        rules[f"model.bottleneck.{name}={kept} exceeds model.latent_dim={model.latent_dim}; lower {name}"] = (
            model.latent_dim is not None and kept > max(model.latent_dim, 0)
        )
    return rules


def _dictionary_rules(model: Model) -> Rules:
    record, backbone, likelihood = model.dictionary, model.backbone, model.likelihood
    if record is None:
        return {}
    return {
        "model.dictionary needs a sparse code between single dense layers; use --model.bottleneck sparse (or another "
        "sparse kind) and --model.backbone dense without widths, or leave it out": (
            not (model.bottleneck.sparse and isinstance(backbone, Dense) and not backbone.widths)
        ),
        "a sigmoid unit is never idle, so model.dictionary cannot tell which are dead; use the relu activation without "
        "model.penalties.rate, or leave model.dictionary out": has_sigmoid_code(model),
        "model.dictionary.pre_bias is in units of the input, and an output that passes through a sigmoid is not; "
        "use --model.likelihood gaussian that is not bounded, or leave it out": (
            record.pre_bias is True and not (isinstance(likelihood, GaussianLikelihood) and not likelihood.bounded)
        ),
        f"model.dictionary.auxk={record.auxk} exceeds model.latent_dim={model.latent_dim}; lower auxk": (
            model.latent_dim is not None and (record.auxk or 0) > model.latent_dim
        ),
        "model.backbone.tied leaves model.dictionary no directions of its own; leave one of them out": _tied(model),
    }


def _name_rules(penalties: Penalties) -> Rules:
    """Names of a user's own penalties that say something else already."""
    ours = {field.name for field in fields(Penalties)}
    kinds = [kind for kind in type(penalties).__mro__ if issubclass(kind, Penalties) and kind is not Penalties]
    own = {name for kind in kinds for name in vars(kind).get("__annotations__", ())}
    recorded, taken = "records tell something else by that name", "a penalty that there is goes by that name"
    return {
        f"model.penalties.{name}: {why}; rename the field": True
        for why, names in ((recorded, RECORDED), (taken, ours))
        for name in names & own
    }


def _optimizer_rules(optimizer: Optimizer) -> Rules:
    schedule, boundaries = optimizer.schedule, optimizer.boundaries
    return {
        "optimizer.schedule=piecewise needs optimizer.boundaries, in steps": schedule == "piecewise" and not boundaries,
        f"optimizer.boundaries have no meaning for the {schedule} schedule; "
        "add --optimizer.schedule piecewise or leave them out": schedule != "piecewise" and bool(boundaries),
        "optimizer.schedule=exponential never reaches optimizer.final=0; set --optimizer.final above 0": (
            schedule == "exponential" and optimizer.final == 0
        ),
        "optimizer.boundaries must rise": list(boundaries) != sorted(set(boundaries)),
    }


def _budget_rules(experiment: Experiment) -> Rules:
    train, known = experiment.train, metrics(experiment.model)
    name = "patience" if train.patience else "monitor"
    return {
        "train.epochs and train.steps are both given; keep one": train.epochs is not None and train.steps is not None,
        f"train.{name} needs a validation split, never the test split; add --data.validation N": (
            bool(train.patience or train.monitor) and not experiment.data.validation
        ),
        f"train.monitor={train.monitor} is no metric of this model; choose {', '.join(known)}": (
            train.monitor is not None and train.monitor not in known
        ),
    }


def _data_rules(data: Data) -> Rules:
    source, rules = str(data.source), {}
    if not source.startswith("images:"):
        for name, given in (("size", data.size is not None), ("grey", data.grey)):
            rules[f"data.{name} is for images:DIR alone, not for data.source={source!r}; leave it out"] = given
    labelled = data.label != Data.label
    if source != ARRAY and not is_table(source) and source_fault(source) is None:
        for name, given in (("drop", bool(data.drop)), ("label", labelled)):
            said = f"data.{name} is for csv:FILE and parquet:FILE, not for data.source={source!r}; leave it out"
            rules[said] = given
    said = f"data.label={data.label} names a column that data.drop leaves out; take it from one of them"
    return rules | {said: labelled and data.label in data.drop}


def _placement_rules(train: Train, batch_size: int) -> Rules:
    """How a batch and the state may be cut, as far as it does not depend on the devices."""
    pieces, parts = train.accumulate, EXACT_PARTS if train.exact else 1
    near = {unit: max(round(batch_size / unit), 1) * unit for unit in (pieces, parts)}
    rules = {
        f"data.batch_size={batch_size} does not divide into train.accumulate={pieces} pieces; try {near[pieces]}": (
            batch_size % pieces != 0
        ),
        f"data.batch_size={batch_size} does not divide into the {parts} parts of train.exact; try {near[parts]}": (
            batch_size % parts != 0
        ),
        f"train.exact computes a batch in {parts} parts already; leave out train.accumulate={pieces}": (
            train.exact and pieces > 1
        ),
        "train.exact adds up in one order on devices that each hold the model; use --train.placement jit or pmap": (
            train.exact and train.placement == "mesh"
        ),
    }
    for name, value, off in (("fsdp", train.fsdp, " None"), ("sharding", train.sharding, " with nothing behind it")):
        rules[f"train.{name} spreads the model over devices; add --train.placement mesh, or --train.{name}{off}"] = (
            bool(value) and train.placement != "mesh"
        )
    return rules | {fault: True for fault in map(_sharding_fault, train.sharding) if fault}


def _sharding_fault(entry: str) -> str | None:
    """Says why an entry of `train.sharding` is none, or None where it is one."""
    pattern, found, axis = entry.rpartition("=")
    if not pattern or not found or not (axis == "none" or re.fullmatch("[0-9]", axis)):
        return f"train.sharding={entry!r} has the form PATTERN=AXIS or PATTERN=none, e.g. decoder/.*kernel=1"
    try:
        re.compile(pattern)
    except re.error as error:
        return f"train.sharding={entry!r} begins with no regular expression: {error}; mend it"
    if pattern.startswith(("^", "params")):  # which the optimizer's moments would not have
        return f"train.sharding={entry!r} matches within a parameter's path, such as decoder/output/kernel; begin there"
    return None


def has_sigmoid_code(model: Model) -> bool:
    """Whether a sparse code is of sigmoid units: where it says so, or says nothing and has the rate penalty."""
    kind = model.bottleneck
    return (
        isinstance(kind, Sparse) and (kind.activation or ("sigmoid" if model.penalties.rate else "relu")) == "sigmoid"
    )


def metrics(model: Model) -> tuple[str, ...]:
    """Metrics that say how good a model is, the one that decides by default first."""
    quality = (*(["bce"] if isinstance(model.likelihood, Bernoulli) else []), "mse", "psnr")
    restored = () if isinstance(model.corruption, NoCorruption) else tuple(f"restored_{name}" for name in quality)
    bound = ("elbo",) if isinstance(model.bottleneck, GaussianPosterior) else ()
    return (*bound, *restored, *quality, "reconstruction_nats")


def unit_range_faults(experiment: Experiment, why: str, *, table: bool) -> list[str]:
    """What the experiment asks for that needs data in [0, 1], given why the data are not; one sentence each.

    Of a table, whose features are of any size, the mend is to bring all of them to one.
    """
    model, data = experiment.model, experiment.data
    gaussian = "--model.likelihood gaussian"
    if table and data.scale == "none":
        gaussian = f"--data.scale standard {gaussian}"
    needs = {
        "model.likelihood bernoulli": (isinstance(model.likelihood, Bernoulli), gaussian),
        "model.likelihood.bounded": (
            getattr(model.likelihood, "bounded", False) is True,
            "--model.likelihood.bounded False",
        ),
        "data.binarize": (data.binarize != "none", "--data.binarize none"),
        f"train.monitor {experiment.train.monitor}": (
            str(experiment.train.monitor).endswith("psnr"),
            f"--train.monitor {metrics(model)[0]}",
        ),
        "model.corruption.clip": (getattr(model.corruption, "clip", False) is True, "--model.corruption.clip False"),
    }
    return [
        f"{name} needs data in [0, 1], but {why}; use {mend}{'' if table else ' or --data.scale unit'}"
        for name, (needed, mend) in needs.items()
        if needed
    ]


def require_temperature(temperature: float) -> None:
    """Raises ConfigError for what draws from the prior cannot be multiplied by."""
    if not 0.0 <= temperature <= MAX_TEMPERATURE:
        raise ConfigError(f"temperature {temperature:g} lies outside [0, {MAX_TEMPERATURE:g}]; 1 is the prior itself")


def _tied(model: Model) -> bool:
    return isinstance(model.backbone, Dense) and model.backbone.tied


def _levels(corruption: Corruption) -> tuple[float, float]:
    for name in ("sigma", "rate"):
        high = getattr(corruption, name, None)
        if high is not None:
            low = getattr(corruption, f"{name}_min", None)
            return (0.0 if low is None else low), high
    return 0.0, 0.0
