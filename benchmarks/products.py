"""What a network's matrices alone take on each runtime: ``python -m benchmarks.products``.

The least that a hop can cost there, whatever is around. "int8" are the published weights on LiteRT,
"block8" the same rounded anew in blocks for onnxruntime: a graph for each stage with nothing but
the products of one hop, or of two or four at once, as the models have them. All take turns with the
published recipe, hop by hop, and with "ours", all of a hop in int8, in short rounds of one run; the
table tells medians. "A node" is what an addition of 128 numbers takes within a graph of many.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from onnx import ModelProto
from rich.console import Console
from rich.table import Table

from benchmarks.hot_path import NAMES, cpu_seconds, run_batches
from pipedtln.dtln import load_processor, locate_model
from pipedtln.dtln.blockwise import FINE_BLOCK
from pipedtln.dtln.litegraph import Graph as LiteGraph
from pipedtln.dtln.onnx_runtime import OnnxRuntime, bind
from pipedtln.dtln.onnxgraph import BLOCK
from pipedtln.dtln.onnxgraph import Graph as OnnxGraph
from pipedtln.dtln.stagefile import APART_UNITS
from pipedtln.dtln.tensor import Tensor
from pipedtln.dtln.weights import Matrix, Rounded, StageWeights, read_any_weights
from pipedtln.processor import HOP
from tests.dtln.recipe import Recipe
from tests.dtln.sounds import scene

BATCHES = {"int8": (1, 2, 4), "block8": (1, 2)}
"""Hops at once, as there are files for."""
HOPS = 64
"""Hops in a round."""
NODES = 200
Infer = Callable[[], object]


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", default=list(NAMES), metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(name, options.rounds) for name in options.names]
    nodes = {"int8": _node(_lite_sums), "block8": _node(_onnx_sums)}
    if options.json:
        print(json.dumps({"models": rows, "node_us": nodes}, indent=2))
        return
    table = Table("µs a hop", *(row["model"] for row in rows), box=None)
    for key in list(rows[0])[1:]:
        digits = 2 if "/" in key else 0
        table.add_row(key, *(f"{row[key]:.{digits}f}" for row in rows))
    Console().print(table)
    told = ", ".join(f"{kind} {cost:.2f} µs" for kind, cost in nodes.items())
    print(f"a node: {told}")


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Time a network's products and the recipe; µs of CPU time a hop, medians over the rounds."""
    files = locate_model(name).files
    stages = [read_any_weights(file) for file in files]
    recipe = Recipe(*files)
    mic, ref = scene(HOPS * HOP / 16_000)
    works: dict[str, Callable[[], None]] = {"recipe": lambda: recipe.run(mic, ref)}
    for frames in BATCHES["block8"]:
        processor = load_processor(name, batch=frames)
        works[f"ours, {frames}"] = partial(run_batches, processor, mic, ref)
    for kind, batches in BATCHES.items():
        make = _lite_products if kind == "int8" else _onnx_products
        for frames in batches:
            infer = [make(stage, frames) for stage in stages]
            works[f"{kind}, {frames}"] = partial(_turns, infer, HOPS // frames)
    for work in works.values():
        work()
    timed = [{key: cpu_seconds(work) for key, work in works.items()} for _ in range(rounds)]

    def ratio(one: str, other: str) -> float:
        return statistics.median(times[one] / times[other] for times in timed)

    told: dict[str, Any] = {"model": name}
    for key in works:
        told[key] = statistics.median(times[key] for times in timed) * 1e6 / HOPS
        kind, _, frames = key.partition(", ")
        if kind == "int8":
            told[f"{key} / recipe"] = ratio(key, "recipe")
        elif kind == "block8":
            told[f"{key} / int8"] = ratio(key, f"int8, {frames}")
            told[f"{key} / ours"] = ratio(key, f"ours, {frames}")
    return told


def _products(
    weights: StageWeights[Matrix],
    frames: int,
    join: Callable[[Matrix, Matrix], Matrix] | None = None,
) -> Iterator[tuple[Matrix, int, int]]:
    """A stage's matrices, the rows that go through each at once, and how often.

    ``join`` makes one of both matrices of a layer, where a single frame goes through them so.
    """
    if weights.encoder is not None:
        yield weights.encoder, weights.inputs * frames, 1
    for forward, recurrent in zip(weights.forward, weights.recurrent, strict=True):
        if join is not None and frames == 1:
            yield join(recurrent, forward), 1, 1
            continue
        yield forward, frames, 1
        yield recurrent, 1, frames
    yield weights.mask, frames, 1
    if weights.decoder is not None:
        yield weights.decoder, frames, 1


def _lite_products(weights: StageWeights[Matrix], frames: int) -> Infer:
    graph = LiteGraph()
    inputs, outputs = [], []
    for matrix, rows, times in _products(weights, frames):
        shape = rows, matrix.shape[1]

        def product(graph: LiteGraph, values: Any, matrix: Matrix = matrix) -> list[int]:
            return [graph.product(values[0], matrix)]

        apart = times > 1 and weights.units >= APART_UNITS
        part = graph.apart(product, [shape]) if apart else product
        for _ in range(times):
            inputs.append(graph.tensor(shape))
            outputs += part(graph, inputs[-1:])
    return _lite(graph.file(inputs, outputs))


def _lite_sums(count: int) -> Infer:
    graph = LiteGraph()
    first = value = graph.tensor((1, 128))
    for _ in range(count):
        value = graph.sum(value, first)
    return _lite(graph.file([first], [value]))


def _lite(content: bytes) -> Infer:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    random = np.random.default_rng(1)
    for tensor in interpreter.get_input_details():
        interpreter.set_tensor(tensor["index"], random.random(tensor["shape"], np.float32))
    infer: Infer = interpreter.invoke
    return infer


def _onnx_products(weights: StageWeights[Matrix], frames: int) -> Infer:
    graph = OnnxGraph()
    inputs, outputs = {}, {}
    second = weights.decoder is not None
    for matrix, rows, times in _products(weights, frames, _side_by_side):
        fine = second and (matrix is weights.mask or matrix is weights.decoder)
        blocks = graph.matrix(_float(matrix), FINE_BLOCK if fine else BLOCK)
        for _ in range(times):
            value, result = f"x{len(inputs)}", f"y{len(inputs)}"
            graph.product(value, blocks, output=result)
            inputs[value], outputs[result] = (rows, matrix.shape[1]), (rows, matrix.shape[0])
    return _onnx(graph.model(inputs, outputs))


def _onnx_sums(count: int) -> Infer:
    graph = OnnxGraph()
    value = "x"
    for index in range(count):
        value = graph.add("Add", value, "x", output=f"y{index}")
    return _onnx(graph.model({"x": (1, 128)}, {value: (1, 128)}))


def _onnx(model: ModelProto) -> Infer:
    session = OnnxRuntime().session(model.SerializeToString())
    random = np.random.default_rng(1)
    arrays = [
        {tensor.name: random.random(tensor.shape, np.float32) for tensor in tensors}
        for tensors in (session.get_inputs(), session.get_outputs())
    ]
    bound = bind(session, *arrays)

    def infer() -> None:
        _ = arrays  # what is bound holds addresses alone
        bound()

    return infer


def _side_by_side(recurrent: Matrix, forward: Matrix) -> Tensor:
    return np.concatenate((_float(recurrent), _float(forward)), axis=1)


def _float(matrix: Matrix) -> Tensor:
    if not isinstance(matrix, Rounded):
        return matrix
    return matrix.steps * np.broadcast_to(matrix.scales, len(matrix.steps))[:, np.newaxis]


def _turns(infer: list[Infer], times: int) -> None:
    for _ in range(times):
        for stage in infer:
            stage()


def _node(chain: Callable[[int], Infer]) -> float:
    """µs that one node more takes."""
    few, many = (chain(count) for count in (1, NODES + 1))
    costs = []
    for _ in range(9):
        times = [cpu_seconds(partial(_turns, [infer], 200)) / 200 for infer in (few, many)]
        costs.append((times[1] - times[0]) * 1e6 / NODES)
    return round(statistics.median(costs), 3)


if __name__ == "__main__":
    main()
