"""ONNX by a walk over the jaxpr.

Constants are computed here, not there: whatever depends on weights alone is one array of the graph. Convolutions are
the native operation, whatever the platform that exports.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from jax import export
from onnx import TensorProto, helper

from aeflax.export.check import Runnable
from aeflax.export.onnx_graph import Graph, Value
from aeflax.export.onnx_rules import RULES, largest_of_each, unknown
from aeflax.export.parts import Part

OPSET, IR = 20, 10  # of ONNX 1.15 and later; onnxruntime reads them since 1.17
SUFFIX = "onnx"

_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")


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
    nodes, constants = graph.leading_to(part.made.name)
    given, out = (
        helper.make_tensor_value_info(port.name, TensorProto.FLOAT, ["batch", *port.shape])
        for port in (part.given, part.made)
    )
    model = helper.make_model(
        helper.make_graph(nodes, part.name, [given], [out], constants),
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
        return [largest_of_each(graph, *inputs)]
    if inner := next((params[key] for key in _CALLS if key in params), None):
        return _inlined(graph, inner, inputs)
    if all(isinstance(value, np.ndarray) for value in inputs) and _static(equation):
        found = equation.primitive.bind(*map(jnp.asarray, inputs), **params)
        return [np.asarray(one) for one in (found if equation.primitive.multiple_results else [found])]
    if name not in RULES:
        raise unknown(name)
    return RULES[name](graph, equation, inputs)


def _static(equation: Any) -> bool:
    return all(isinstance(size, int) for out in equation.outvars for size in out.aval.shape)
