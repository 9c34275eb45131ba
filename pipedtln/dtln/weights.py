"""Reads a stage's weights out of its TensorFlow Lite file, by following the wiring."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipedtln.dtln.tensor import Tensor
from pipedtln.errors import ModelError

_RESHAPES = ("UNPACK", "PACK", "RESHAPE")
"""Operations that hand a vector on as it is."""


@dataclass(frozen=True)
class Rounded:
    """A matrix in 8 bits: ``steps``, int8, times ``scales``, float32, for each row or for all."""

    steps: NDArray[np.int8]
    scales: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return self.steps.shape


Matrix: TypeAlias = Tensor | Rounded
M = TypeVar("M", bound=Matrix)
M_co = TypeVar("M_co", bound=Matrix, covariant=True)


@dataclass(frozen=True)
class StageWeights(Generic[M_co]):
    """What a stage has learned; all matrices have a row for each of their outputs.

    ``forward``, ``recurrent`` and ``bias`` are those of both LSTM layers, the gates in the order
    input, forget, cell, output. ``norm_gain`` and ``norm_bias`` span all inputs, one behind the
    other. ``power_floor`` is what is added to a power before its logarithm, where a stage takes
    one. None stands for what a stage does not have.
    """

    inputs: int
    units: int
    forward: tuple[M_co, M_co]
    recurrent: tuple[M_co, M_co]
    bias: tuple[Tensor, Tensor]
    mask: M_co
    mask_bias: Tensor
    norm_gain: Tensor | None
    norm_bias: Tensor | None
    norm_floor: float
    power_floor: float | None
    encoder: M_co | None
    decoder: M_co | None


def read_weights(path: Path) -> StageWeights[Tensor]:
    """Read a stage of either network from a float file, however it was converted.

    Operations are known by what they are wired to, never by their position or name, as both differ
    between conversions.

    Raises
    ------
    ModelError
        If the file is not such a stage.
    """
    return _read(path, _float_matrix, "a float stage")


def read_any_weights(path: Path) -> StageWeights[Matrix]:
    """Read a stage from a float file or from one in 8 bits; otherwise as :func:`read_weights`."""
    return _read(path, _matrix, "a stage")


def _read(path: Path, matrix: Callable[[_Wiring, _Operation], M], what: str) -> StageWeights[M]:
    try:
        return _stage(_Wiring(path), matrix)
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        struct.error,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"{path} is not {what} of a known network ({reason}). "
            "Delete it and run: pipedtln models fetch"
        ) from error


@dataclass(frozen=True)
class _Operation:
    kind: str
    inputs: tuple[int, ...]
    output: int


class _Wiring:
    """Operations and constants of a flatbuffer, by the tensors between them."""

    def __init__(self, path: Path) -> None:
        schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
        # The schema's reader trusts what it reads; a file of anything else ends in any exception.
        model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        (graph,) = model.subgraphs
        kinds = {number: name for name, number in vars(schema.BuiltinOperator).items()}
        self._model = model
        self._tensors = graph.tensors
        self._dtypes = {
            schema.TensorType.FLOAT32: np.float32,
            schema.TensorType.INT32: np.int32,
            schema.TensorType.INT8: np.int8,
        }
        self.inputs = [int(i) for i in graph.inputs]
        self.operations = []
        for operation in graph.operators:
            code = model.operatorCodes[operation.opcodeIndex]
            # Codes above 127 are in the newer field; files of older converters have it zero.
            kind = kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]
            inputs = tuple(int(i) for i in operation.inputs)
            self.operations.append(_Operation(kind, inputs, int(operation.outputs[0])))
        self._makers = {operation.output: operation for operation in self.operations}

    def of_kind(self, kind: str) -> list[_Operation]:
        return [operation for operation in self.operations if operation.kind == kind]

    def maker(self, tensor: int) -> _Operation | None:
        """What computes a tensor, past all that merely reshapes it; None for an input."""
        maker = self._makers.get(tensor)
        while maker is not None and maker.kind in _RESHAPES:
            maker = self._makers.get(maker.inputs[0])
        return maker

    def shape(self, tensor: int) -> tuple[int, ...]:
        shape = self._tensors[tensor].shape
        return () if shape is None else tuple(int(size) for size in shape)

    def constant(self, tensor: int) -> NDArray[Any] | None:
        """The value of a tensor that is part of the file."""
        entry = self._tensors[tensor] if tensor >= 0 else None
        data = None if entry is None else self._model.buffers[entry.buffer].data
        if entry is None or data is None:
            return None
        values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), self._dtypes[entry.type])
        return values.reshape(self.shape(tensor))

    def scales(self, tensor: int) -> Tensor:
        """What the steps of a tensor are worth, for each row or for all."""
        quantization = self._tensors[tensor].quantization
        if np.any(quantization.zeroPoint) or quantization.quantizedDimension:
            raise ValueError("weights are not rounded row by row about zero")
        return np.asarray(quantization.scale, np.float32)

    def known(self, operation: _Operation) -> Tensor:
        """The one constant that goes into a sum or a product."""
        (value,) = (v for v in map(self.constant, operation.inputs) if v is not None)
        return value

    def unknown(self, operation: _Operation) -> _Operation:
        """What makes the one operand that is not a constant."""
        (tensor,) = (t for t in operation.inputs if self.constant(t) is None)
        maker = self.maker(tensor)
        if maker is None:
            raise ValueError(f"{operation.kind} hangs on an input")
        return maker


def _stage(wiring: _Wiring, matrix: Callable[[_Wiring, _Operation], M]) -> StageWeights[M]:
    states = [tensor for tensor in wiring.inputs if len(wiring.shape(tensor)) == 4]
    recurrent: dict[int, M] = {}
    forward: list[_Operation] = []
    for product in wiring.of_kind("FULLY_CONNECTED"):
        maker = wiring.maker(product.inputs[0])
        if maker is None or maker.kind != "STRIDED_SLICE":
            forward.append(product)
            continue
        # A slice of the state begins at (0, layer, 0, 0 for h or 1 for c).
        begin = wiring.constant(maker.inputs[1])
        if begin is None or begin[3] != 0:
            raise ValueError("a layer's feedback is not its output")
        recurrent[int(begin[1])] = matrix(wiring, product)
    first, second, mask = forward
    mask_bias = wiring.constant(mask.inputs[2])
    if mask_bias is None or len(states) != 1:
        raise ValueError("not one recurrent state and one mask")
    gain, bias, floor = _norms(wiring, first)
    encoder, decoder = _convolutions(wiring, matrix)
    return StageWeights(
        inputs=len(wiring.inputs) - 1,
        units=wiring.shape(states[0])[2],
        forward=(matrix(wiring, first), matrix(wiring, second)),
        recurrent=(recurrent[0], recurrent[1]),
        bias=(_bias(wiring, first), _bias(wiring, second)),
        mask=matrix(wiring, mask),
        mask_bias=mask_bias,
        norm_gain=gain,
        norm_bias=bias,
        norm_floor=floor,
        power_floor=_power_floor(wiring),
        encoder=encoder,
        decoder=decoder,
    )


def _matrix(wiring: _Wiring, product: _Operation) -> Matrix:
    tensor = product.inputs[1]
    matrix = wiring.constant(tensor)
    if matrix is None:
        raise ValueError("weights are not part of the file")
    matrix = matrix.reshape(matrix.shape[0], -1)
    return matrix if matrix.dtype == np.float32 else Rounded(matrix, wiring.scales(tensor))


def _float_matrix(wiring: _Wiring, product: _Operation) -> Tensor:
    matrix = _matrix(wiring, product)
    if isinstance(matrix, Rounded):
        raise ValueError("weights are not float32")  # noqa: TRY004 - of the file, not of a caller
    return matrix


def _bias(wiring: _Wiring, product: _Operation) -> Tensor:
    """The constant that is added to a product, after the other product of its layer."""
    tensor = product.output
    while True:
        (follower,) = (o for o in wiring.operations if tensor in o.inputs)
        if follower.kind != "ADD":
            raise ValueError(f"{follower.kind} where a bias was awaited")
        if any(wiring.constant(operand) is not None for operand in follower.inputs):
            return wiring.known(follower)
        tensor = follower.output


def _norms(wiring: _Wiring, first: _Operation) -> tuple[Tensor | None, Tensor | None, float]:
    """Gain and bias of the layer norms that feed the first layer, and the floor of the variance."""
    maker = wiring.maker(first.inputs[0])
    if maker is None:
        return None, None, 0.0
    tensors = maker.inputs if maker.kind == "CONCATENATION" else (first.inputs[0],)
    gains, biases = [], []
    for tensor in tensors:
        shifted = wiring.maker(tensor)
        if shifted is None or shifted.kind != "ADD":
            raise ValueError("no layer norm before the first layer")
        biases.append(wiring.known(shifted))
        gains.append(wiring.known(wiring.unknown(shifted)))
    floors = {
        float(wiring.known(floored))
        for root in wiring.of_kind("RSQRT")
        if (floored := wiring.maker(root.inputs[0])) is not None
    }
    (floor,) = floors
    return np.concatenate(gains), np.concatenate(biases), floor


def _power_floor(wiring: _Wiring) -> float | None:
    makers = [wiring.maker(logarithm.inputs[0]) for logarithm in wiring.of_kind("LOG")]
    floors = {float(wiring.known(maker)) for maker in makers if maker is not None}
    return floors.pop() if floors else None


def _convolutions(
    wiring: _Wiring, matrix: Callable[[_Wiring, _Operation], M]
) -> tuple[M | None, M | None]:
    """Encoder and decoder: convolutions over a whole frame, so products with a matrix."""
    convolutions = wiring.of_kind("CONV_2D")
    if not convolutions:
        return None, None
    for convolution in convolutions:
        bias = wiring.constant(convolution.inputs[2])
        if bias is None or bias.any():
            raise ValueError("a coder with a bias")
    return matrix(wiring, convolutions[0]), matrix(wiring, convolutions[-1])
