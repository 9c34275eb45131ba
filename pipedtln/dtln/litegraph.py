"""Writes TensorFlow Lite files, operation by operation."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipedtln.dtln.tensor import Tensor
from pipedtln.dtln.weights import Matrix, Rounded

_IDENTIFIER = b"TFL3"
_SCHEMA_VERSION = 3

Part: TypeAlias = Callable[["Graph", Sequence[int]], list[int]]
"""Adds some operations on values to a graph, and tells what they result in."""


class Graph:
    """Tensors and operations as they come; a value's rows are frames, of one signal or of both.

    Parameters
    ----------
    of : the graph whose file it is a part of, None for a file's first
    """

    def __init__(self, of: Graph | None = None) -> None:
        self._schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
        self._tensors: list[Any] = []
        self._shapes: list[tuple[int, ...]] = []
        self._weights: dict[int, int] = {}
        self._operations: list[Any] = []
        # The first buffer is that of no constant.
        self._buffers: list[Any] = [self._schema.BufferT()] if of is None else of._buffers
        self._codes: list[Any] = [] if of is None else of._codes
        self._apart: list[Any] = []

    def tensor(self, shape: tuple[int, ...], kind: str = "FLOAT32", buffer: int = 0) -> int:
        """A value that something fills, by its number."""
        entry = self._schema.TensorT()
        entry.name = f"tensor_{len(self._tensors)}".encode()
        entry.shape = np.array(shape, np.int32)
        entry.type = getattr(self._schema.TensorType, kind)
        entry.buffer = buffer
        self._tensors.append(entry)
        self._shapes.append(shape)
        return len(self._tensors) - 1

    def constant(self, value: float | Tensor) -> int:
        """A value that the file holds."""
        return self._stored(np.asarray(value, np.float32), "FLOAT32")

    def unary(self, kind: str, value: int) -> int:
        """An operation on each element alone, by its name in the schema."""
        return self._add(kind, [value], [self._shapes[value]])[0]

    def sum(self, one: int, other: int) -> int:
        """Element by element."""
        return self._binary("ADD", self._schema.AddOptionsT(), one, other)

    def multiply(self, one: int, other: int) -> int:
        """Element by element."""
        return self._binary("MUL", self._schema.MulOptionsT(), one, other)

    def product(self, value: int, matrix: Matrix, bias: Tensor | None = None) -> int:
        """Values times a matrix with a row for each output."""
        options = self._schema.FullyConnectedOptionsT()
        rounded = isinstance(matrix, Rounded)
        options.asymmetricQuantizeInputs = rounded
        inputs = [value, self._matrix(matrix), self.constant(bias) if bias is not None else -1]
        shape = (self._shapes[value][0], matrix.shape[0])
        # Version 9: inputs are rounded as they come, weights row by row.
        return self._add("FULLY_CONNECTED", inputs, [shape], options, 9 if rounded else 1)[0]

    def normalize(self, value: int, floor: float) -> int:
        """Each row without its mean, divided by its standard deviation."""
        level = self._binary("SUB", self._schema.SubOptionsT(), value, self._mean(value))
        variance = self._mean(self.multiply(level, level))
        return self.multiply(level, self.unary("RSQRT", self.sum(variance, self.constant(floor))))

    def lstm(self, gates: int, cells: int) -> list[int]:
        """A layer's output and its next cells, from the sums that go into its gates."""
        opening, keeping, candidate, telling = self._split(gates, 4)
        kept = self.multiply(self.unary("LOGISTIC", keeping), cells)
        added = self.multiply(self.unary("LOGISTIC", opening), self.unary("TANH", candidate))
        cells = self.sum(kept, added)
        return [self.multiply(self.unary("LOGISTIC", telling), self.unary("TANH", cells)), cells]

    def apart(self, part: Part, shapes: Sequence[tuple[int, ...]]) -> Part:
        """Make a part that takes values of these shapes a graph of its own, to be run often."""
        graph = Graph(self)
        inputs = [graph.tensor(shape) for shape in shapes]
        outputs = part(graph, inputs)
        self._apart.append(graph._packed(f"part_{len(self._apart)}", inputs, outputs))
        options = self._schema.StableHLOCompositeOptionsT()
        options.name = "pipedtln.part"
        options.version = 1
        options.compositeAttributes = list(
            importlib.import_module("flatbuffers.flexbuffers").Dumps({})
        )
        options.decompositionSubgraphIndex = len(self._apart)
        results = [graph._shapes[output] for output in outputs]
        return lambda at, values: at._add("STABLEHLO_COMPOSITE", [*values], results, options)

    def concatenate(self, values: list[int], axis: int) -> int:
        """Values one behind the other."""
        if len(values) == 1:
            return values[0]
        options = self._schema.ConcatenationOptionsT()
        options.axis = axis
        shape = list(self._shapes[values[0]])
        shape[axis] = sum(self._shapes[value][axis] for value in values)
        return self._add("CONCATENATION", values, [tuple(shape)], options)[0]

    def rows(self, value: int, first: int, count: int) -> int:
        """Some rows, as they are."""
        shape = (count, self._shapes[value][1])
        if shape == self._shapes[value]:
            return value
        inputs = [value, self._integers((first, 0)), self._integers(shape)]
        return self._add("SLICE", inputs, [shape], self._schema.SliceOptionsT())[0]

    def file(self, inputs: list[int], outputs: list[int]) -> bytes:
        """All that was added as a flatbuffer."""
        model = self._schema.ModelT()
        model.version = _SCHEMA_VERSION
        model.description = b"pipedtln"
        model.operatorCodes = self._codes
        model.subgraphs = [self._packed("main", inputs, outputs), *self._apart]
        model.buffers = self._buffers
        builder = importlib.import_module("flatbuffers").Builder(1 << 20)
        builder.Finish(model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())

    def _packed(self, name: str, inputs: list[int], outputs: list[int]) -> Any:
        graph = self._schema.SubGraphT()
        graph.name = name.encode()
        graph.tensors = self._tensors
        graph.inputs = np.array(inputs, np.int32)
        graph.outputs = np.array(outputs, np.int32)
        graph.operators = self._operations
        return graph

    def _matrix(self, matrix: Matrix) -> int:
        """Stored once, however many frames go through it."""
        if id(matrix) not in self._weights:
            self._weights[id(matrix)] = (
                self._rounded(matrix) if isinstance(matrix, Rounded) else self.constant(matrix)
            )
        return self._weights[id(matrix)]

    def _rounded(self, matrix: Rounded) -> int:
        weights = self._stored(matrix.steps, "INT8")
        quantization = self._schema.QuantizationParametersT()
        quantization.scale = matrix.scales
        quantization.zeroPoint = np.zeros(len(matrix.scales), np.int64)
        quantization.quantizedDimension = 0
        self._tensors[weights].quantization = quantization
        return weights

    def _mean(self, value: int) -> int:
        options = self._schema.ReducerOptionsT()
        options.keepDims = True
        shape = (self._shapes[value][0], 1)
        return self._add("MEAN", [value, self._integers((1,))], [shape], options)[0]

    def _split(self, value: int, parts: int) -> list[int]:
        options = self._schema.SplitOptionsT()
        options.numSplits = parts
        rows, columns = self._shapes[value]
        axis = self._stored(np.array(1, np.int32), "INT32")
        return self._add("SPLIT", [axis, value], [(rows, columns // parts)] * parts, options)

    def _binary(self, kind: str, options: Any, one: int, other: int) -> int:
        shape = np.broadcast_shapes(self._shapes[one], self._shapes[other])
        return self._add(kind, [one, other], [shape], options)[0]

    def _integers(self, values: tuple[int, ...]) -> int:
        return self._stored(np.array(values, np.int32), "INT32")

    def _stored(self, value: NDArray[Any], kind: str) -> int:
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        self._buffers.append(buffer)
        return self.tensor(value.shape, kind, len(self._buffers) - 1)

    def _add(
        self,
        kind: str,
        inputs: list[int],
        shapes: list[tuple[int, ...]],
        options: Any = None,
        version: int = 1,
    ) -> list[int]:
        outputs = [self.tensor(shape) for shape in shapes]
        operation = self._schema.OperatorT()
        operation.opcodeIndex = self._code(kind, version)
        operation.inputs = np.array(inputs, np.int32)
        operation.outputs = np.array(outputs, np.int32)
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            if hasattr(self._schema.BuiltinOptions, name):
                operation.builtinOptions = options
                operation.builtinOptionsType = getattr(self._schema.BuiltinOptions, name)
            else:
                operation.builtinOptions2 = options
                operation.builtinOptions2Type = getattr(self._schema.BuiltinOptions2, name)
        self._operations.append(operation)
        return outputs

    def _code(self, kind: str, version: int) -> int:
        """The number of an operation in the file's list of all that it uses."""
        number = getattr(self._schema.BuiltinOperator, kind)
        for index, code in enumerate(self._codes):
            if (code.builtinCode, code.version) == (number, version):
                return index
        code = self._schema.OperatorCodeT()
        code.builtinCode = number
        # Codes above 127 are in the newer field alone.
        code.deprecatedBuiltinCode = min(number, 127)
        code.version = version
        self._codes.append(code)
        return len(self._codes) - 1
