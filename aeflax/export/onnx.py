"""ONNX by a walk over the jaxpr. Closed: a primitive that it does not know is refused by its name.

Constants are computed here, not there: whatever depends on weights alone is one array of the graph. Convolutions are
the native operation, whatever the platform that exports.
"""

import math
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from jax import export
from onnx import TensorProto, helper, numpy_helper

from aeflax.errors import ConfigError
from aeflax.export.check import Runnable
from aeflax.export.parts import Part

OPSET, IR = 20, 10  # of ONNX 1.15 and later; onnxruntime reads them since 1.17
SUFFIX = "onnx"

Value = str | np.ndarray  # a tensor of the graph, or a constant
Rule = Callable[["Graph", Any, Sequence[Value]], Sequence[Value]]

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
_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")


class Graph:
    """An ONNX graph that grows node by node."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._names: dict[bytes, str] = {}

    def node(self, kind: str, inputs: Sequence[Value], outputs: int = 1, **attributes: Any) -> list[Value]:
        """Appends an operation; returns its outputs."""
        made = [f"{kind.lower()}_{len(self.nodes)}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(kind, [self.name(value) for value in inputs], made, **attributes))
        return [*made]

    def name(self, value: Value) -> str:
        """The tensor's name; a constant becomes an initializer, equal ones the same."""
        if isinstance(value, str):
            return value
        value = np.ascontiguousarray(value)
        key = f"{value.dtype}{value.shape}".encode() + value.tobytes()
        if key not in self._names:
            self._names[key] = f"constant_{len(self._names)}"
            self.constants.append(numpy_helper.from_array(value, self._names[key]))
        return self._names[key]


def blobs(parts: dict[str, Part]) -> dict[str, bytes]:
    """Each function as a serialized ONNX model, its weights inside, the batch symbolic.

    Raises:
      ConfigError: for a model with an operation that this exporter does not know.
    """
    return {name: _model(part).SerializeToString() for name, part in parts.items()}


def runnable(blob: bytes) -> Runnable:
    """A model as a function of arrays, by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(blob, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda array: np.asarray(session.run(None, {given.name: np.asarray(array, np.float32)})[0])


def requirements() -> dict[str, Any]:
    """What reads the models."""
    return {"onnx opset": OPSET, "onnx ir": IR}


def _model(part: Part) -> Any:
    (batch,) = export.symbolic_shape("batch")
    closed = jax.make_jaxpr(part.call)(jax.ShapeDtypeStruct((batch, *part.given.shape), np.float32))
    graph = Graph()
    (made,) = _inlined(graph, closed, [part.given.name])
    graph.nodes.append(helper.make_node("Identity", [graph.name(made)], [part.made.name]))
    given, out = (
        helper.make_tensor_value_info(port.name, TensorProto.FLOAT, ["batch", *port.shape])
        for port in (part.given, part.made)
    )
    model = helper.make_model(
        helper.make_graph(graph.nodes, part.name, [given], [out], graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="aeflax",
        producer_version=version("aeflax"),
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _inlined(graph: Graph, closed: Any, inputs: Sequence[Value]) -> list[Value]:
    """Puts a jaxpr into the graph; returns its outputs."""
    jaxpr = closed.jaxpr
    known: dict[Any, Value] = dict(zip(jaxpr.constvars, map(np.asarray, closed.consts), strict=True))
    known |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Value:
        return np.asarray(atom.val) if hasattr(atom, "val") else known[atom]

    for equation in jaxpr.eqns:
        known |= dict(zip(equation.outvars, _applied(graph, equation, [*map(read, equation.invars)]), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _applied(graph: Graph, equation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
    name, params = equation.primitive.name, equation.params
    if name == "platform_index":  # of the branches of `lax.platform_dependent`, the last is for any other platform
        return [np.int32(len(params["platforms"]) - 1)]  # type: ignore[list-item]
    if name == "cond":
        return _inlined(graph, params["branches"][int(inputs[0])], inputs[1:])
    if params.get("name") == "_largest_of_each":
        return [_largest_of_each(graph, *inputs)]
    if inner := next((params[key] for key in _CALLS if key in params), None):
        return _inlined(graph, inner, inputs)
    if all(isinstance(value, np.ndarray) for value in inputs) and _static(equation):
        found = equation.primitive.bind(*map(jnp.asarray, inputs), **params)
        return [np.asarray(one) for one in (found if equation.primitive.multiple_results else [found])]
    if name in _SAME:
        return graph.node(_SAME[name], inputs)
    if name not in _RULES:
        raise ConfigError(
            f"this model cannot be exported to ONNX: the exporter does not know {name}; choose --format stablehlo"
        )
    return _RULES[name](graph, equation, inputs)


def _static(equation: Any) -> bool:
    return all(isinstance(size, int) for out in equation.outvars for size in out.aval.shape)


def _largest_of_each(graph: Graph, values: Value, k: Value) -> Value:
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
        raise ConfigError(
            "this model cannot be exported to ONNX: the exporter does not know convolutions with a kernel that depends "
            "on the input; choose --format stablehlo"
        )
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
        raise ConfigError("this model cannot be exported to ONNX: the exporter does not know interior padding")
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


_RULES: dict[str, Rule] = {
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
    "transpose": _of("Transpose", perm=lambda params: list(params["permutation"])),
    "concatenate": _of("Concat", axis=lambda params: params["dimension"]),
    "rsqrt": lambda graph, _, inputs: graph.node("Reciprocal", graph.node("Sqrt", inputs)),
    "square": lambda graph, _, inputs: graph.node("Mul", [inputs[0], inputs[0]]),
    "log1p": lambda graph, _, inputs: graph.node("Log", graph.node("Add", [inputs[0], _constant(1)])),
    "expm1": lambda graph, _, inputs: graph.node("Sub", [*graph.node("Exp", inputs), _constant(1)]),
    "integer_pow": lambda graph, eqn, inputs: graph.node("Pow", [inputs[0], _constant(eqn.params["y"])]),
    **dict.fromkeys(_REDUCTIONS, _reduce),
}
