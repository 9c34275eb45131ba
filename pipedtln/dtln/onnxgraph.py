"""Writes ONNX models whose matrices are of 8 bits in blocks, node by node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipedtln.dtln.tensor import Tensor

if TYPE_CHECKING:
    from onnx import ModelProto

BLOCK = 64
"""Weights that share a scale."""
_OPSET = 18
_IR_VERSION = 9
_MICROSOFT = "com.microsoft"


def quantize(matrix: Tensor, block: int = BLOCK) -> tuple[NDArray[np.uint8], Tensor]:
    """Round each row in blocks to 8 bits about 128.

    Returns
    -------
    uint8, shape (rows, blocks, block), the last block filled up with zero weights, and the scales,
    float32, shape (rows, blocks).
    """
    rows, columns = matrix.shape
    blocks = -(-columns // block)
    padded = np.zeros((rows, blocks * block), np.float32)
    padded[:, :columns] = matrix
    padded = padded.reshape(rows, blocks, block)
    scales = np.abs(padded).max(axis=2, keepdims=True) / np.float32(127)
    steps = np.round(padded / np.where(scales > 0, scales, 1))
    return (steps + 128).astype(np.uint8), scales[:, :, 0]


@dataclass(frozen=True)
class BlockMatrix:
    """A rounded matrix among the constants, by the names of its steps and scales."""

    rows: int
    columns: int
    block: int
    steps: str
    scales: str


class Graph:
    """Nodes and constants as they come; names them."""

    def __init__(self) -> None:
        from onnx import TensorProto, helper, numpy_helper

        self._helper: Any = helper
        self._from_array: Any = numpy_helper.from_array
        self._float = TensorProto.FLOAT
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, value: Any) -> str:
        """A value that the model holds, by its name."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(self._from_array(np.asarray(value), name))
        return name

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """A node of the standard's, or of another domain, with one output."""
        name = output or f"value_{len(self._nodes)}"
        self._nodes.append(self._helper.make_node(kind, inputs, [name], **attributes))
        return name

    def mean(self, value: str) -> str:
        """Of each row."""
        return self.add("ReduceMean", value, self.constant(np.array([-1])), keepdims=1)

    def split(
        self, value: str, parts: int, sizes: str | None = None, *, axis: int = 1
    ) -> list[str]:
        """Parts of one size, or of the sizes that a constant tells."""
        names = [f"value_{len(self._nodes)}_{part}" for part in range(parts)]
        inputs = [value, sizes] if sizes else [value]
        count = {} if sizes else {"num_outputs": parts}
        node = self._helper.make_node("Split", inputs, names, axis=axis, **count)
        self._nodes.append(node)
        return names

    def matrix(self, values: Tensor, block: int = BLOCK) -> BlockMatrix:
        """Round a matrix that has a row for each output."""
        rows, columns = values.shape
        steps, scales = quantize(values, block)
        return BlockMatrix(rows, columns, block, self.constant(steps), self.constant(scales))

    def product(
        self,
        value: str,
        matrix: BlockMatrix,
        bias: Tensor | None = None,
        output: str | None = None,
    ) -> str:
        """Values times a matrix: onnxruntime's ``MatMulNBits`` at accuracy level 4, with weights
        and values in blocks, 8 bits and a scale each."""
        inputs = [value, matrix.steps, matrix.scales]
        if bias is not None:
            inputs += ["", "", self.constant(bias)]
        return self.add(
            "MatMulNBits",
            *inputs,
            output=output,
            domain=_MICROSOFT,
            K=matrix.columns,
            N=matrix.rows,
            bits=8,
            block_size=matrix.block,
            # Level 1 with 8 bits leaves the fast path and takes twenty times as long.
            accuracy_level=4,
        )

    def model(
        self, inputs: dict[str, tuple[int, ...]], outputs: dict[str, tuple[int, ...]]
    ) -> ModelProto:
        """All that was added, with the shapes of what goes in and comes out by name."""
        values = (
            [self._helper.make_tensor_value_info(name, self._float, shape) for name, shape in ends]
            for ends in (inputs.items(), outputs.items())
        )
        graph = self._helper.make_graph(self._nodes, "stage", *values, self._constants)
        opsets = [
            self._helper.make_opsetid("", _OPSET),
            self._helper.make_opsetid(_MICROSOFT, 1),
        ]
        model: ModelProto = self._helper.make_model(
            graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="pipedtln"
        )
        return model
