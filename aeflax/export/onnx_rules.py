"""What each primitive of a jaxpr is in ONNX. Closed: what has no rule here is refused by its name."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.lax import RoundingMethod
from onnx import TensorProto, helper

from aeflax.errors import ConfigError
from aeflax.export.onnx_graph import Graph, Value

Rule = Callable[[Graph, Any, Sequence[Value]], Sequence[Value]]

_SAME = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "max": "Max",
    "min": "Min",
    "pow": "Pow",
    "exp": "Exp",
    "log": "Log",
    "tanh": "Tanh",
    "logistic": "Sigmoid",
    "neg": "Neg",
    "sqrt": "Sqrt",
    "abs": "Abs",
    "sign": "Sign",
    "erf": "Erf",
    "floor": "Floor",
    "ceil": "Ceil",
    "sin": "Sin",
    "cos": "Cos",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "lt": "Less",
    "le": "LessOrEqual",
    "eq": "Equal",
    "stop_gradient": "Identity",
    "copy": "Identity",
    "and": "And",
    "or": "Or",
    "not": "Not",
}
_REDUCTIONS = {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin"}


def unknown(what: str) -> ConfigError:
    """The error for what has no rule."""
    return ConfigError(
        f"this model cannot be exported to ONNX: the exporter does not know {what}; choose --format stablehlo"
    )


def largest_of_each(graph: Graph, values: Value, k: Value) -> Value:
    """`aeflax.models.selection.largest_of_each`: what is no smaller than the k-th largest."""
    count = np.asarray([math.ceil(float(np.asarray(k)))], np.int64)
    found, _ = graph.node("TopK", [values, count], 2, axis=-1)
    (least,) = graph.node("ReduceMin", [found, np.asarray([-1])], keepdims=1)
    (marked,) = graph.node("GreaterOrEqual", [values, least])
    (marks,) = graph.node("Cast", [marked], to=TensorProto.FLOAT)
    return marks


def _sizes(shape: Sequence[Any]) -> np.ndarray:
    """A shape for Reshape: the one symbolic size is what is left."""
    return np.asarray([size if isinstance(size, int) else -1 for size in shape], np.int64)


def _reshape(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    return graph.node("Reshape", [inputs[0], _sizes(equation.outvars[0].aval.shape)])


def _broadcast(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    shape, places = equation.params["shape"], equation.params["broadcast_dimensions"]
    given = equation.invars[0].aval.shape
    placed = [1] * len(shape)
    for place, size in zip(places, given, strict=True):
        placed[place] = size
    (value,) = graph.node("Reshape", [inputs[0], _sizes(placed)])
    wanted = [size if isinstance(size, int) else 1 for size in shape]  # 1 lets a size be as it is
    if any(not isinstance(size, int) and placed[place] == 1 for place, size in enumerate(shape)):
        return [value]  # over the batch: operations broadcast by themselves
    return graph.node("Expand", [value, np.asarray(wanted, np.int64)])


def _dot(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    (left, right), (left_batch, right_batch) = equation.params["dimension_numbers"]
    ranks = [len(atom.aval.shape) for atom in equation.invars]
    if left == (ranks[0] - 1,) and right == (0,) and not left_batch and ranks[1] == 2:
        return graph.node("MatMul", inputs)
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    of: list[list[str]] = [[""] * rank for rank in ranks]
    shared = [(*left_batch, *left), (*right_batch, *right)]
    for one, other in zip(*shared, strict=True):
        of[0][one] = of[1][other] = next(letters)
    free = [[place for place in range(ranks[side]) if place not in shared[side]] for side in range(2)]
    for side in range(2):
        for place in free[side]:
            of[side][place] = next(letters)
    out = [of[0][place] for place in left_batch] + [of[side][place] for side in range(2) for place in free[side]]
    return graph.node("Einsum", inputs, equation=f"{''.join(of[0])},{''.join(of[1])}->{''.join(out)}")


def _convolution(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    params = equation.params
    images, kernel, out = params["dimension_numbers"]
    (maps,) = graph.node("Transpose", [inputs[0]], perm=list(images))
    if isinstance(inputs[1], str) or params["batch_group_count"] != 1:
        raise unknown("convolutions with a kernel that depends on the input")
    weights = np.asarray(inputs[1]).transpose(kernel)
    if any(size != 1 for size in params["lhs_dilation"]):
        (made,) = _transposed_convolution(graph, params, maps, weights)
    else:
        before, after = zip(*params["padding"], strict=True)
        (made,) = graph.node(
            "Conv",
            [maps, weights],
            strides=list(params["window_strides"]),
            pads=[*before, *after],
            dilations=list(params["rhs_dilation"]),
            group=params["feature_group_count"],
        )
    return graph.node("Transpose", [made], perm=[int(place) for place in np.argsort(out)])


def _transposed_convolution(graph: Graph, params: Any, maps: Value, weights: np.ndarray) -> Sequence[Value]:
    """A convolution of dilated maps, as the transposed one that ONNX counts from the other side."""
    sides = weights.shape[2:]
    ends = [
        (side - 1 - before, side - 1 - after) for side, (before, after) in zip(sides, params["padding"], strict=True)
    ]
    return graph.node(
        "ConvTranspose",
        [maps, np.flip(weights, (2, 3)).swapaxes(0, 1)],
        strides=list(params["lhs_dilation"]),
        pads=[*(before for before, _ in ends), *(max(after, 0) for _, after in ends)],
        output_padding=[max(-after, 0) for _, after in ends],
    )


def _slice(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    params, shape = equation.params, equation.invars[0].aval.shape
    cut = [axis for axis, size in enumerate(shape) if isinstance(size, int)]  # the batch is never cut
    steps = params["strides"] or (1,) * len(shape)
    table = [[params["start_indices"][a] for a in cut], [params["limit_indices"][a] for a in cut], cut]
    table.append([steps[a] for a in cut])
    return graph.node("Slice", [inputs[0], *(np.asarray(row, np.int64) for row in table)])


def _pad(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    low, high, inner = zip(*equation.params["padding_config"], strict=True)
    if any(inner):
        raise unknown("interior padding")
    return graph.node("Pad", [inputs[0], np.asarray([*low, *high], np.int64), inputs[1]])


def _cast(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    return graph.node("Cast", inputs, to=helper.np_dtype_to_tensor_dtype(np.dtype(equation.params["new_dtype"])))


def _select(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    which, no, yes = inputs
    return graph.node("Where", [which, yes, no])


def _not_equal(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    one, other = inputs
    if isinstance(one, str) and isinstance(other, str) and one == other:
        return graph.node("IsNaN", [one])
    return graph.node("Not", graph.node("Equal", inputs))


def _reduce(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    axes = np.asarray(equation.params["axes"], np.int64)
    return graph.node(_REDUCTIONS[equation.primitive.name], [inputs[0], axes], keepdims=0)


def _split(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    sizes = np.asarray(equation.params["sizes"], np.int64)
    return graph.node("Split", [inputs[0], sizes], len(sizes), axis=equation.params["axis"])


def _of(kind: str, **attributes: Callable[[Any], Any]) -> Rule:
    """A node whose attributes are made of the equation's parameters."""

    def rule(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
        found = {name: make(equation.params) for name, make in attributes.items()}
        return graph.node(kind, inputs, **found)

    return rule


def _constant(value: float) -> np.ndarray:
    return np.asarray(value, np.float32)


def _round(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    if equation.params["rounding_method"] != RoundingMethod.TO_NEAREST_EVEN:  # as jnp.round does, and ONNX
        raise unknown("round away from zero")
    return graph.node("Round", inputs)


RULES: dict[str, Rule] = {
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "broadcast_in_dim": _broadcast,
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    "slice": _slice,
    "pad": _pad,
    "convert_element_type": _cast,
    "select_n": _select,
    "ne": _not_equal,
    "split": _split,
    "round": _round,
    "transpose": _of("Transpose", perm=lambda params: list(params["permutation"])),
    "concatenate": _of("Concat", axis=lambda params: params["dimension"]),
    "rsqrt": lambda graph, _, inputs: graph.node("Reciprocal", graph.node("Sqrt", inputs)),
    "square": lambda graph, _, inputs: graph.node("Mul", [inputs[0], inputs[0]]),
    "log1p": lambda graph, _, inputs: graph.node("Log", graph.node("Add", [inputs[0], _constant(1)])),
    "expm1": lambda graph, _, inputs: graph.node("Sub", [*graph.node("Exp", inputs), _constant(1)]),
    "integer_pow": lambda graph, eqn, inputs: graph.node("Pow", [inputs[0], _constant(eqn.params["y"])]),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **{name: _of(kind) for name, kind in _SAME.items()},
}
