"""Builds models that are made of other models, and holds them to what those give."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipedtln.dtln.blockwise import build_graph
from pipedtln.dtln.frames import BINS
from pipedtln.dtln.manifest import Model
from pipedtln.dtln.onnx_runtime import EXTRA, OnnxRuntime
from pipedtln.dtln.record import FILES, write_record
from pipedtln.dtln.rowwise import round_rows
from pipedtln.dtln.runtime import LiteRuntime, Runtime, Stage, takes_two
from pipedtln.dtln.stagefile import build_file
from pipedtln.dtln.store import Located
from pipedtln.dtln.tensor import Tensor
from pipedtln.dtln.weights import StageWeights, read_weights
from pipedtln.errors import ModelError
from pipedtln.processor import FRAME

LEAST_AGREEMENT_DB = 20.0
"""Of a built stage with its source on noise; rounding leaves 30 dB, a mistake in wiring none."""
_TRIAL_FRAMES = 40


@dataclass(frozen=True)
class _Builder:
    """How models of one precision are built and run, and what brings the libraries for it."""

    libraries: tuple[str, ...]
    install: str
    build: Callable[[StageWeights[Tensor]], tuple[bytes, ...]]
    """Makes a stage, and the same for two frames."""
    runtime: Callable[[], Runtime]


def _graph(weights: StageWeights[Tensor]) -> tuple[bytes, ...]:
    graphs = (build_graph(weights, frames=frames) for frames in (1, 2))
    return tuple(graph.SerializeToString(deterministic=True) for graph in graphs)


def _files(weights: StageWeights[Tensor]) -> tuple[bytes, ...]:
    rounded = round_rows(weights)
    return build_file(rounded), build_file(rounded, frames=2)


_BUILDERS = {
    "block8": _Builder(("onnx", "onnxruntime"), EXTRA, _graph, OnnxRuntime),
    "row8": _Builder(
        ("flatbuffers", "ai_edge_litert"), "pip install ai-edge-litert", _files, LiteRuntime
    ),
}


def missing_builders(precision: str = "block8") -> list[str]:
    """Libraries that building models of a precision needs and that are not installed."""
    libraries = _BUILDERS[precision].libraries
    return [name for name in libraries if importlib.util.find_spec(name) is None]


def check_builders(model: Model) -> None:
    """Tell early that a model cannot be built here.

    Raises
    ------
    ModelError
        If a library is missing.
    """
    missing = missing_builders(model.precision)
    if missing:
        install = _BUILDERS[model.precision].install
        raise ModelError(
            f"{model.name} is built on this machine with {' and '.join(missing)}, "
            f"not installed here. Install what is missing with: {install}"
        )


def build(model: Model, source: Located, folder: Path) -> None:
    """Build both stages of a derived model into an empty folder, with a record of their hashes.

    Parameters
    ----------
    model : the derived model
    source : the model that it is derived from

    Raises
    ------
    ModelError
        If the source's files are not understood or what was built does not follow them.
    OSError
        If the folder cannot be written.
    """
    check_builders(model)
    heard = 2 if model.kind == "aec" else 1
    builder = _BUILDERS[model.precision]
    files = FILES[model.precision]
    for path, names, size in zip(source.files, files, (BINS, FRAME), strict=True):
        for name, content in zip(names, builder.build(read_weights(path)), strict=True):
            (folder / name).write_bytes(content)
        given = _trial(LiteRuntime().stage(path, (size,) * heard, size), heard, size)
        built = builder.runtime().stage(folder / names[0], (size,) * heard, size, pairs=True)
        made = _trial(built, heard, size)
        error = float(np.sum((given - made) ** 2))
        # Written so that a NaN fails, too.
        if not float(np.sum(given**2)) > error * 10 ** (LEAST_AGREEMENT_DB / 10):
            raise ModelError(
                f"{model.name} as built from {path} does not follow it on this machine. "
                f"Use {source.model.name} and report this with the output of: pipedtln doctor"
            )
    write_record(folder, model.precision)


def _trial(stage: Stage, heard: int, size: int) -> Tensor:
    """What a stage makes of silence and of noise that swells through all of a layer's range.

    Where it takes two frames at once, half of them go so.
    """
    random = np.random.default_rng(0)
    out: Tensor = np.empty((_TRIAL_FRAMES, size), np.float32)
    swell = np.concatenate(((0.0, 0.0), np.geomspace(0.01, 1.0, _TRIAL_FRAMES - 2)))
    noise = random.standard_normal((_TRIAL_FRAMES, heard, size)).astype(np.float32)
    noise *= swell[:, None, None]
    sound = np.abs(noise) if size == BINS else noise
    for at in range(0, _TRIAL_FRAMES, 2):
        if takes_two(stage) and at % 4:
            stage.run_two(tuple(sound[at : at + 2].swapaxes(0, 1)), out[at : at + 2])
        else:
            for frame in (at, at + 1):
                stage.run(tuple(sound[frame]), out[frame])
    return out
