"""Writes a stage as a TensorFlow Lite file, for one frame at a time or for several.

Several frames share the reading of all weights but the recurrent ones, and the start of every
operation. What a large layer does for each frame is a graph of its own, run once a frame: else
XNNPACK would keep the recurrent weights once for each frame, and none would still lie in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pipedtln.dtln.litegraph import Graph
from pipedtln.dtln.weights import Matrix, StageWeights

APART_UNITS = 512
"""Units of a layer from which what it does for each frame is a graph of its own. Running that costs
some 4 us, which is more than smaller weights take to be read again."""


def build_file(weights: StageWeights[Matrix], frames: int = 1) -> bytes:
    """Make a stage as a TensorFlow Lite flatbuffer.

    Its inputs are those of the published file with a row for each frame, shape (frames, size), then
    the state in pieces, shape (1, units) each: output and cells of the first layer, then of the
    second; its outputs likewise. So for one frame it is what :mod:`pipedtln.dtln.apart` makes of a
    published file.

    Raises
    ------
    ImportError
        If flatbuffers or LiteRT's schema is not installed.
    """
    graph = Graph()
    size = weights.mask.shape[0] if weights.encoder is None else weights.encoder.shape[1]
    heard = [graph.tensor((frames, size)) for _ in range(weights.inputs)]
    states = [graph.tensor((1, weights.units)) for _ in range(4)]
    # All frames of one signal, then all of the other: they share the encoder and are scaled alike.
    signal = encoded = graph.concatenate(heard, axis=0)
    if weights.encoder is not None:
        signal = encoded = graph.product(signal, weights.encoder)
    if weights.power_floor is not None:
        power = graph.sum(graph.multiply(signal, signal), graph.constant(weights.power_floor))
        signal = graph.unary("LOG", power)
    if weights.norm_gain is not None:
        signal = graph.normalize(signal, weights.norm_floor)
    parts = [graph.rows(signal, frames * one, frames) for one in range(weights.inputs)]
    signal = graph.concatenate(parts, axis=1)
    if weights.norm_gain is not None and (weights.norm_gain != 1).any():
        signal = graph.multiply(signal, graph.constant(weights.norm_gain))
    if weights.norm_bias is not None and weights.norm_bias.any():
        signal = graph.sum(signal, graph.constant(weights.norm_bias))
    given = []
    for layer in range(2):
        past, cells = states[2 * layer : 2 * layer + 2]
        gates = graph.product(signal, weights.forward[layer], weights.bias[layer])
        step, part = partial(_step, recurrent=weights.recurrent[layer]), None
        if frames > 1 and weights.units >= APART_UNITS:
            part = graph.apart(step, [(1, 4 * weights.units), *[(1, weights.units)] * 2])
        results = []
        for frame in range(frames):
            if part is None:
                past, cells = step(graph, [gates, past, cells], frame=frame)
            else:
                past, cells = part(graph, [graph.rows(gates, frame, 1), past, cells])
            results.append(past)
        signal = graph.concatenate(results, axis=0)
        given += [past, cells]
    mask = graph.unary("LOGISTIC", graph.product(signal, weights.mask, weights.mask_bias))
    if weights.decoder is None:
        return graph.file([*heard, *states], [mask, *given])
    masked = graph.multiply(graph.rows(encoded, 0, frames), mask)
    return graph.file([*heard, *states], [graph.product(masked, weights.decoder), *given])


def _step(graph: Graph, values: Sequence[int], recurrent: Matrix, frame: int = 0) -> list[int]:
    """One frame of a layer: from all frames' sums but for the past, and its last output and cells,
    to its next output and cells."""
    gates, past, cells = values
    # Not one product of both: what goes into one is rounded in steps of one size, and a layer may
    # hear what is far louder than its own last output.
    fed_back = graph.product(past, recurrent)
    return graph.lstm(graph.sum(graph.rows(gates, frame, 1), fed_back), cells)
