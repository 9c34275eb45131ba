"""Takes a stage's recurrent state apart, so that no operation of the network has to.

The published files carry the state in one tensor ``(1, 2, units, 2)``: layer, unit, {h, c}. Taking
it to pieces and putting it together again, element by element and in operations that XNNPACK does
not take over, costs a quarter to a half of the inference. Here the pieces become inputs and outputs
of the network themselves, in memory; the arithmetic and all weights stay what they are.

Flatbuffers: https://flatbuffers.dev/internals; their schema:
https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

_RESHAPE, _STRIDED_SLICE, _PACK, _UNPACK = 22, 45, 83, 88
PIECES = tuple((layer, kind) for layer in (0, 1) for kind in (0, 1))
"""Parts of a state, in the order of the inputs and outputs they become: layer, then h or c."""


def take_apart(content: bytes) -> bytes | None:
    """Rewire a network file to take its state in four pieces and to give it in four.

    Inputs are what they were without the state, then the pieces in the order of :data:`PIECES`,
    shape (1, units) each; the outputs likewise.

    Returns
    -------
    The rewired file, or None where this is not a file whose state is known to be carried so.
    """
    try:
        return _rewired(_Network(bytearray(content)))
    except (ValueError, KeyError, IndexError, struct.error):
        return None


@dataclass
class _Operation:
    kind: int
    place: int
    inputs: list[int]
    outputs: list[int]


class _Network:
    """The one graph of a flatbuffer, read in place; numbers are positions in the file."""

    def __init__(self, data: bytearray) -> None:
        self.data = data
        model = self._follow(0)
        codes = self._references(model, 1)
        (self.graph,) = self._references(model, 2)
        self._buffers = self._references(model, 4)
        self._tensors = self._references(self.graph, 0)
        self.inputs = self._integers(self.graph, 1)
        self.outputs = self._integers(self.graph, 2)
        self.operations = [
            _Operation(
                self._kind(codes[self._number(place, 0, "<I")]),
                place,
                self._integers(place, 1),
                self._integers(place, 2),
            )
            for place in self._references(self.graph, 3)
        ]

    def shape(self, tensor: int) -> list[int]:
        return self._integers(self._tensors[tensor], 0)

    def constant(self, tensor: int) -> list[int]:
        """The value of a tensor of 32-bit integers that is part of the file."""
        start, count = self._vector(self._buffers[self._number(self._tensors[tensor], 2, "<I")], 0)
        return list(struct.unpack_from(f"<{count // 4}i", self.data, start))

    def packed(self, tensor: int) -> list[int]:
        """What a tensor is packed of, whether it is reshaped then or not."""
        (maker,) = (operation for operation in self.operations if tensor in operation.outputs)
        if maker.kind == _RESHAPE:
            return self.packed(maker.inputs[0])
        if maker.kind != _PACK:
            raise ValueError("not packed")
        return maker.inputs

    def replace(self, names: dict[int, int]) -> None:
        """Let all operations read other tensors instead of some."""
        for operation in self.operations:
            start, _ = self._vector(operation.place, 1)
            for position in range(len(operation.inputs)):
                while operation.inputs[position] in names:
                    operation.inputs[position] = names[operation.inputs[position]]
                place = start + 4 * position
                struct.pack_into("<i", self.data, place, operation.inputs[position])

    def keep(self, operations: list[_Operation]) -> None:
        """Forget all other operations."""
        start, _ = self._vector(self.graph, 3)
        for entry in range(len(operations)):
            place = start + 4 * entry
            struct.pack_into("<I", self.data, place, operations[entry].place - place)
        struct.pack_into("<I", self.data, start - 4, len(operations))
        self.operations = operations

    def connect(self, inputs: list[int], outputs: list[int]) -> None:
        """Give the graph other inputs and outputs; the lists go to the file's end."""
        for number, tensors in ((1, inputs), (2, outputs)):
            self.data += bytes(-len(self.data) % 4)
            field = self._field(self.graph, number)
            struct.pack_into("<I", self.data, field, len(self.data) - field)
            self.data += struct.pack(f"<I{len(tensors)}i", len(tensors), *tensors)

    def _kind(self, code: int) -> int:
        # Codes above 127 are in the newer field; files of older converters have it zero.
        return max(self._number(code, 0, "<b"), self._number(code, 3, "<i"))

    def _field(self, table: int, number: int) -> int:
        """Where a field of a table is, or 0 where it has its default."""
        (back,) = struct.unpack_from("<i", self.data, table)
        layout = table - back
        (size,) = struct.unpack_from("<H", self.data, layout)
        if 4 + 2 * number >= size:
            return 0
        (offset,) = struct.unpack_from("<H", self.data, layout + 4 + 2 * number)
        return table + int(offset) if offset else 0

    def _number(self, table: int, number: int, layout: str) -> int:
        field = self._field(table, number)
        return int(struct.unpack_from(layout, self.data, field)[0]) if field else 0

    def _follow(self, place: int) -> int:
        return place + int(struct.unpack_from("<I", self.data, place)[0])

    def _vector(self, table: int, number: int) -> tuple[int, int]:
        """Where a vector's elements begin, and how many there are."""
        field = self._field(table, number)
        if not field:
            return 0, 0
        place = self._follow(field)
        return place + 4, int(struct.unpack_from("<I", self.data, place)[0])

    def _integers(self, table: int, number: int) -> list[int]:
        start, count = self._vector(table, number)
        return list(struct.unpack_from(f"<{count}i", self.data, start))

    def _references(self, table: int, number: int) -> list[int]:
        start, count = self._vector(table, number)
        offsets = struct.unpack_from(f"<{count}I", self.data, start)
        return [start + 4 * entry + int(offset) for entry, offset in enumerate(offsets)]


def _rewired(network: _Network) -> bytes:
    (before,) = (tensor for tensor in network.inputs if len(network.shape(tensor)) == 4)
    (after,) = (tensor for tensor in network.outputs if len(network.shape(tensor)) == 4)
    units = network.shape(before)[2]
    if network.shape(before) != [1, 2, units, 2] or network.shape(after) != [1, 2, units, 2]:
        raise ValueError("not the state of two layers")
    taken = _slices(network, before)
    given = _joined(network, after)
    if any(network.shape(t) != [1, units] for t in (*taken.values(), *given.values())):
        raise ValueError("not a piece for each layer's output and cells")
    # What packs or unpacks one tensor alone gives on what it gets.
    network.replace(
        {
            operation.outputs[0]: operation.inputs[0]
            for operation in network.operations
            if operation.kind in (_PACK, _UNPACK)
            and len(operation.inputs) == len(operation.outputs) == 1
        }
    )
    inputs = [*(t for t in network.inputs if t != before), *(taken[piece] for piece in PIECES)]
    outputs = [*(t for t in network.outputs if t != after), *(given[piece] for piece in PIECES)]
    network.keep(_needed(network.operations, inputs, outputs))
    network.connect(inputs, outputs)
    return bytes(network.data)


def _slices(network: _Network, state: int) -> dict[tuple[int, int], int]:
    """The pieces that a state is taken to; each begins at (0, layer, 0, kind)."""
    pieces = {}
    for operation in network.operations:
        if state in operation.inputs:
            if operation.kind != _STRIDED_SLICE:
                raise ValueError("the state goes elsewhere")
            _, layer, _, kind = network.constant(operation.inputs[1])
            pieces[layer, kind] = operation.outputs[0]
    if sorted(pieces) != list(PIECES):
        raise ValueError("the state is not taken to these pieces")
    return pieces


def _joined(network: _Network, state: int) -> dict[tuple[int, int], int]:
    """The pieces that a state is put together of: layers first, then h beside c."""
    pieces = {}
    for kind, layers in enumerate(network.packed(state)):
        for layer, piece in enumerate(network.packed(layers)):
            pieces[layer, kind] = piece
    if sorted(pieces) != list(PIECES):
        raise ValueError("the state is not put together of these pieces")
    return pieces


def _needed(
    operations: list[_Operation], inputs: Iterable[int], outputs: Iterable[int]
) -> list[_Operation]:
    """What lies between inputs and outputs, in order."""
    wanted = set(outputs)
    known = set(inputs)
    kept = []
    for operation in reversed(operations):
        if wanted.intersection(operation.outputs) and not known.issuperset(operation.outputs):
            wanted.update(operation.inputs)
            kept.append(operation)
    return kept[::-1]
