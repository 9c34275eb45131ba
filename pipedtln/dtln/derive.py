"""Builds models that are made of other models, and holds them to what those give."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipedtln.dtln.blockwise import build_graph
from pipedtln.dtln.frames import BINS
from pipedtln.dtln.manifest import Model
from pipedtln.dtln.onnx_runtime import EXTRA, OnnxRuntime
from pipedtln.dtln.record import FILES, write_record
from pipedtln.dtln.rowwise import round_rows
from pipedtln.dtln.runtime import LiteRuntime, Runtime, Stage, runs_batches
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
    batches: tuple[int, ...]
    """Numbers of frames at once for which it is built, besides one."""
    build: Callable[[StageWeights[Tensor], tuple[int, ...]], Iterator[bytes]]
    """Makes a stage for these numbers of frames."""
    runtime: Callable[[], Runtime]


def _graphs(weights: StageWeights[Tensor], frames: tuple[int, ...]) -> Iterator[bytes]:
    for count in frames:
        yield build_graph(weights, frames=count).SerializeToString(deterministic=True)


def _files(weights: StageWeights[Tensor], frames: tuple[int, ...]) -> Iterator[bytes]:
    rounded = round_rows(weights)
    for count in frames:
        yield build_file(rounded, count)


_BUILDERS = {
    "block8": _Builder(("onnx", "onnxruntime"), EXTRA, (2,), _graphs, OnnxRuntime),
    "row8": _Builder(
        ("flatbuffers", "ai_edge_litert"), "pip install ai-edge-litert", (2, 4), _files, LiteRuntime
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
        contents = builder.build(read_weights(path), (1, *builder.batches))
        for name, content in zip(names, contents, strict=True):
            (folder / name).write_bytes(content)
        given = _trial(LiteRuntime().stage(path, (size,) * heard, size), heard, size)
        for batch in builder.batches:
            built = builder.runtime().stage(folder / names[0], (size,) * heard, size, batch=batch)
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

    Where it takes several frames at once, half of them go so.
    """
    random = np.random.default_rng(0)
    out: Tensor = np.empty((_TRIAL_FRAMES, size), np.float32)
    swell = np.concatenate(((0.0, 0.0), np.geomspace(0.01, 1.0, _TRIAL_FRAMES - 2)))
    noise = random.standard_normal((_TRIAL_FRAMES, heard, size)).astype(np.float32)
    noise *= swell[:, None, None]
    sound = np.abs(noise) if size == BINS else noise
    batch = stage.batch if runs_batches(stage) else 1
    for at in range(0, _TRIAL_FRAMES, batch):
        if runs_batches(stage) and at // batch % 2:
            some = slice(at, at + batch)
            stage.run_batch(tuple(sound[some].swapaxes(0, 1)), out[some])
        else:
            for frame in range(at, at + batch):
                stage.run(tuple(sound[frame]), out[frame])
    return out
