"""Builds a stage with weights of 8 bits, a scale for each row, as a file for LiteRT.

The published 8-bit files have one scale for a whole matrix, which costs more than all else that
they round. With a scale for each output LiteRT does the same work at the same speed and follows
the float network 6 dB closer. Most of what is then left comes from two products near the end of the
second stage: its mask, whose error nothing evens out, and the decoder, whose input is nearly empty
but for a few loud features. Those two are small and stay float: 9 to 11 dB more.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipedtln.dtln.runtime import Tensor
from pipedtln.dtln.weights import StageWeights

FORMAT = 1
"""Changes with what :func:`build_file` makes, so that older files are made anew."""
_IDENTIFIER = b"TFL3"
_SCHEMA_VERSION = 3


def build_file(weights: StageWeights) -> bytes:
    """Make a stage as a TensorFlow Lite flatbuffer.

    Its inputs are those of the published file, then the state in pieces, shape (1, units) each:
    output and cells of the first layer, then of the second; its outputs likewise. So it is
    what :mod:`pipedtln.dtln.apart` makes of a published file.

    Raises
    ------
    ImportError
        If flatbuffers or LiteRT's schema is not installed.
    """
    graph = _Graph()
    coded = weights.encoder is not None
    size = weights.encoder.shape[1] if weights.encoder is not None else weights.mask.shape[0]
    values = [graph.tensor((1, size)) for _ in range(weights.inputs)]
    states = [graph.tensor((1, weights.units)) for _ in range(4)]
    # A row for each signal: they share the encoder and are scaled alike.
    signal = graph.concatenate(values, axis=0) if weights.inputs > 1 else values[0]
    encoded = signal
    if weights.encoder is not None:
        encoded = signal = graph.product(signal, weights.encoder)
    if weights.power_floor is not None:
        power = graph.sum(graph.multiply(signal, signal), graph.constant(weights.power_floor))
        signal = graph.unary("LOG", power)
    forward, bias = weights.forward[0], weights.bias[0]
    if weights.norm_gain is not None and weights.norm_bias is not None:
        signal = graph.normalize(signal, weights.norm_floor)
        # What follows is linear, so it takes the norm's own gain and bias in.
        bias = bias + forward @ weights.norm_bias
        forward = forward * weights.norm_gain
    if weights.inputs > 1:
        signal = graph.flatten(signal)
    # What goes into a product is rounded in steps of one size. What the first layer hears may be
    # far louder than its own last output; both inputs of the second are within 1.
    gates = graph.sum(
        graph.product(signal, forward, bias), graph.product(states[0], weights.recurrent[0])
    )
    first, first_cells = graph.lstm(gates, states[1])
    joined = np.concatenate((weights.forward[1], weights.recurrent[1]), axis=1)
    both = graph.concatenate([first, states[2]], axis=1)
    second, second_cells = graph.lstm(graph.product(both, joined, weights.bias[1]), states[3])
    mask = graph.product(second, weights.mask, weights.mask_bias, rounded=not coded)
    result = graph.unary("LOGISTIC", mask)
    if weights.decoder is not None:
        if weights.inputs > 1:
            encoded = graph.first_row(encoded)
        result = graph.product(graph.multiply(encoded, result), weights.decoder, rounded=False)
    return graph.file([*values, *states], [result, first, first_cells, second, second_cells])


def quantize(matrix: Tensor) -> tuple[NDArray[np.int8], Tensor]:
    """Round each row to 8 bits, symmetrically.

    Returns
    -------
    int8, the matrix's shape, and the rows' scales, float32, shape (rows,).
    """
    scales = np.abs(matrix).max(axis=1) / np.float32(127)
    steps = np.round(matrix / np.where(scales > 0, scales, 1)[:, None])
    return steps.astype(np.int8), scales


class _Graph:
    """Tensors and operations as they come; all matrices have one row for each signal."""

    def __init__(self) -> None:
        self._schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
        self._flatbuffers: Any = importlib.import_module("flatbuffers")
        self._tensors: list[Any] = []
        self._shapes: list[tuple[int, ...]] = []
        self._buffers: list[Any] = [self._schema.BufferT()]  # the first is that of no constant
        self._codes: list[Any] = []
        self._operations: list[Any] = []

    def tensor(self, shape: tuple[int, ...], kind: str = "FLOAT32", buffer: int = 0) -> int:
        entry = self._schema.TensorT()
        entry.name = f"tensor_{len(self._tensors)}".encode()
        entry.shape = np.array(shape, np.int32)
        entry.type = getattr(self._schema.TensorType, kind)
        entry.buffer = buffer
        self._tensors.append(entry)
        self._shapes.append(shape)
        return len(self._tensors) - 1

    def constant(self, value: float | Tensor) -> int:
        return self._stored(np.asarray(value, np.float32), "FLOAT32")

    def unary(self, kind: str, value: int) -> int:
        return self._add(kind, [value], [self._shapes[value]])[0]

    def sum(self, one: int, other: int) -> int:
        return self._binary("ADD", self._schema.AddOptionsT(), one, other)

    def multiply(self, one: int, other: int) -> int:
        return self._binary("MUL", self._schema.MulOptionsT(), one, other)

    def product(
        self, value: int, matrix: Tensor, bias: Tensor | None = None, *, rounded: bool = True
    ) -> int:
        """Values times a matrix with a row for each output, rounded to 8 bits or in float."""
        options = self._schema.FullyConnectedOptionsT()
        if rounded:
            steps, scales = quantize(matrix)
            weights = self._stored(steps, "INT8")
            quantization = self._schema.QuantizationParametersT()
            quantization.scale = np.where(scales > 0, scales, 1).astype(np.float32)
            quantization.zeroPoint = np.zeros(len(scales), np.int64)
            quantization.quantizedDimension = 0
            self._tensors[weights].quantization = quantization
            options.asymmetricQuantizeInputs = True
        else:
            weights = self.constant(matrix)
        inputs = [value, weights, self.constant(bias) if bias is not None else -1]
        shape = (self._shapes[value][0], matrix.shape[0])
        # Version 9: inputs are rounded as they come, weights row by row.
        return self._add("FULLY_CONNECTED", inputs, [shape], options, 9 if rounded else 1)[0]

    def normalize(self, value: int, floor: float) -> int:
        """Each row without its mean, divided by its standard deviation."""
        level = self._binary("SUB", self._schema.SubOptionsT(), value, self._mean(value))
        variance = self._mean(self.multiply(level, level))
        return self.multiply(level, self.unary("RSQRT", self.sum(variance, self.constant(floor))))

    def lstm(self, gates: int, cells: int) -> tuple[int, int]:
        """A layer's output and its next cells, from the sums that go into its gates."""
        opening, keeping, candidate, telling = self._split(gates, 4)
        kept = self.multiply(self.unary("LOGISTIC", keeping), cells)
        added = self.multiply(self.unary("LOGISTIC", opening), self.unary("TANH", candidate))
        cells = self.sum(kept, added)
        return self.multiply(self.unary("LOGISTIC", telling), self.unary("TANH", cells)), cells

    def concatenate(self, values: list[int], axis: int) -> int:
        options = self._schema.ConcatenationOptionsT()
        options.axis = axis
        shape = list(self._shapes[values[0]])
        shape[axis] = sum(self._shapes[value][axis] for value in values)
        return self._add("CONCATENATION", values, [tuple(shape)], options)[0]

    def flatten(self, value: int) -> int:
        shape = (1, int(np.prod(self._shapes[value])))
        options = self._schema.ReshapeOptionsT()
        options.newShape = np.array(shape, np.int32)
        return self._add("RESHAPE", [value, self._integers(shape)], [shape], options)[0]

    def first_row(self, value: int) -> int:
        shape = (1, self._shapes[value][1])
        inputs = [value, self._integers((0, 0)), self._integers(shape)]
        return self._add("SLICE", inputs, [shape], self._schema.SliceOptionsT())[0]

    def file(self, inputs: list[int], outputs: list[int]) -> bytes:
        graph = self._schema.SubGraphT()
        graph.name = b"main"
        graph.tensors = self._tensors
        graph.inputs = np.array(inputs, np.int32)
        graph.outputs = np.array(outputs, np.int32)
        graph.operators = self._operations
        model = self._schema.ModelT()
        model.version = _SCHEMA_VERSION
        model.description = b"pipedtln"
        model.operatorCodes = self._codes
        model.subgraphs = [graph]
        model.buffers = self._buffers
        builder = self._flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())

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
            operation.builtinOptions = options
            name = type(options).__name__.removesuffix("T")
            operation.builtinOptionsType = getattr(self._schema.BuiltinOptions, name)
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
