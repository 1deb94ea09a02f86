"""An ONNX graph that grows node by node."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

Value = str | np.ndarray  # a tensor of the graph, or a constant


class Graph:
    """Nodes, and the constants that they use."""

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

    def leading_to(self, output: str) -> tuple[list[Any], list[Any]]:
        """The nodes and the constants that an output depends on, in their order: a code needs no decoder."""
        needed, nodes = {output}, []
        for node in reversed(self.nodes):
            if not needed.isdisjoint(node.output):
                nodes.append(node)
                needed.update(node.input)
        return nodes[::-1], [constant for constant in self.constants if constant.name in needed]
