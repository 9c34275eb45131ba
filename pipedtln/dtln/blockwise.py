"""Builds a stage with weights of 8 bits in blocks, as a graph for onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipedtln.dtln.onnxgraph import BLOCK, Graph
from pipedtln.dtln.tensor import Tensor
from pipedtln.dtln.weights import StageWeights
from pipedtln.processor import FRAME

if TYPE_CHECKING:
    from onnx import ModelProto

FORMAT = 3
"""Changes with what :func:`build_graph` makes, so that older files are made anew."""
FINE_BLOCK = 16
"""Weights that share a scale in a second stage's mask and decoder, whose error nothing evens out:
they are small, and 2 dB depend on them. As blocks of 32 throughout, 64 for the rest are quicker by
4 to 14 %."""
LAYERS = 2


def state_names(layer: int) -> tuple[str, str]:
    """Inputs that carry a layer's output and its cells; their successors begin with ``next_``."""
    return f"h{layer}", f"c{layer}"


def build_graph(weights: StageWeights[Tensor], *, frames: int = 1) -> ModelProto:
    """Make a stage as an ONNX model.

    Its inputs are ``x`` (float32, a row for each signal of each frame, those of a frame together)
    and the state of each layer (see :func:`state_names`; a row of the layer's size each); its
    outputs ``y`` (a row for each frame) and the next state.

    All products of matrices are :meth:`Graph.product`, the rest is float32.

    Parameters
    ----------
    frames : that are inferred at once, one after the other

    Raises
    ------
    ImportError
        If onnx is not installed.
    """
    graph = Graph()
    signal = "x"
    encoded = ""
    if weights.encoder is not None:
        # One product for all signals, as they share the encoder.
        encoded = signal = graph.product(signal, graph.matrix(weights.encoder))
    if weights.power_floor is not None:
        power = graph.add("Mul", signal, signal)
        floored = graph.add("Add", power, graph.constant(np.float32(weights.power_floor)))
        logarithm = graph.add("Log", floored)
        # In silence all logarithms are one large number. onnxruntime up to 1.25 takes the variance
        # as a difference of two larger numbers, which rounding pushes below zero: NaN.
        signal = graph.add("Sub", logarithm, graph.mean(logarithm))
    forward, bias = weights.forward[0], weights.bias[0]
    if weights.norm_gain is not None and weights.norm_bias is not None:
        ones = graph.constant(np.ones(weights.norm_gain.size // weights.inputs, np.float32))
        signal = graph.add("LayerNormalization", signal, ones, epsilon=weights.norm_floor)
        # What follows is linear, so it takes the norm's own gain and bias in.
        bias = bias + forward @ weights.norm_bias
        forward = forward * weights.norm_gain
    if weights.inputs > 1:
        signal = graph.add("Reshape", signal, graph.constant(np.array([frames, -1])))
    signal = _lstm(graph, 0, signal, (weights.recurrent[0], forward, bias), frames)
    second = weights.recurrent[1], weights.forward[1], weights.bias[1]
    signal = _lstm(graph, 1, signal, second, frames)
    block = BLOCK if weights.decoder is None else FINE_BLOCK
    mask = graph.product(signal, graph.matrix(weights.mask, block), weights.mask_bias)
    if weights.decoder is None:
        graph.add("Sigmoid", mask, output="y")
    else:
        if weights.inputs > 1:
            bounds = (0, weights.inputs * frames, 0, weights.inputs)
            rows = (graph.constant(np.array([bound])) for bound in bounds)
            encoded = graph.add("Slice", encoded, *rows)
        masked = graph.add("Mul", encoded, graph.add("Sigmoid", mask))
        graph.product(masked, graph.matrix(weights.decoder, block), output="y")
    size = weights.mask.shape[0] if weights.decoder is None else FRAME
    states = [name for layer in range(LAYERS) for name in state_names(layer)]
    row = (1, weights.units)
    return graph.model(
        {"x": (weights.inputs * frames, size), **dict.fromkeys(states, row)},
        {"y": (frames, size), **{f"next_{name}": row for name in states}},
    )


def _lstm(
    graph: Graph, layer: int, signal: str, weights: tuple[Tensor, Tensor, Tensor], frames: int
) -> str:
    """Add a layer; what it makes of each frame of the signal, a row each.

    ``weights`` are the matrix for its own last output, that for the signal, and the bias. One frame
    goes through one product with both; the signal of several frames goes through its own at once.
    """
    units = weights[0].shape[0] // 4
    past, cells = state_names(layer)
    after = f"next_{past}", f"next_{cells}"
    # The three gates with a sigmoid side by side: input, forget, output; then cell.
    gate = np.arange(units)
    order = np.concatenate((gate, gate + units, gate + 3 * units, gate + 2 * units))
    recurrent, forward, bias = (part[order].astype(np.float32) for part in weights)
    sizes = graph.constant(np.array([3 * units, units]))
    if frames == 1:
        both = graph.add("Concat", past, signal, axis=1)
        matrix = graph.matrix(np.concatenate((recurrent, forward), axis=1))
        product = graph.product(both, matrix, bias)
        return _cell(graph, product, cells, sizes, after)[0]
    given = graph.split(graph.product(signal, graph.matrix(forward), bias), frames, axis=0)
    own = graph.matrix(recurrent)
    told = []
    for frame, row in enumerate(given):
        product = graph.add("Add", graph.product(past, own), row)
        last = frame == frames - 1
        past, cells = _cell(graph, product, cells, sizes, after if last else (None, None))
        told.append(past)
    return graph.add("Concat", *told, axis=0)


def _cell(
    graph: Graph, gates: str, cells: str, sizes: str, after: tuple[str | None, str | None]
) -> tuple[str, str]:
    """Add what follows the products of a layer; its output and cells, by name as in ``after``."""
    smooth, candidate = graph.split(gates, 2, sizes)
    opening, keeping, telling = graph.split(graph.add("Sigmoid", smooth), 3)
    kept = graph.add("Mul", keeping, cells)
    added = graph.add("Mul", opening, graph.add("Tanh", candidate))
    new = graph.add("Add", kept, added, output=after[1])
    return graph.add("Mul", telling, graph.add("Tanh", new), output=after[0]), new
