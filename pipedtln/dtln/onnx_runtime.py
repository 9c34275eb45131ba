"""Stages as ONNX graphs on onnxruntime: bound buffers, the state handed on without a copy."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipedtln.dtln.blockwise import LAYERS, state_names
from pipedtln.dtln.runtime import batch_beside
from pipedtln.dtln.tensor import Tensor
from pipedtln.errors import ModelError

EXTRA = "pip install 'pipedtln[onnx]'"
"""What brings the libraries that models of this runtime need."""
_ERRORS_ONLY = 3
_STATES = tuple(name for layer in range(LAYERS) for name in state_names(layer))


def has_onnx_runtime() -> bool:
    """Whether onnxruntime is installed; it is not loaded."""
    return importlib.util.find_spec("onnxruntime") is not None


class OnnxRuntime:
    """ONNX graphs on onnxruntime's CPU provider; see :func:`pipedtln.dtln.blockwise.build_graph`.

    Raises
    ------
    ModelError
        If onnxruntime is not installed.
    """

    name = "onnxruntime"

    def __init__(self) -> None:
        try:
            import onnxruntime
            from onnxruntime.capi import onnxruntime_pybind11_state as native
        except (ImportError, OSError) as error:
            raise ModelError(
                f"this model needs onnxruntime, which cannot be loaded ({_one_line(error)}). "
                f"Install it with: {EXTRA}"
            ) from error
        self._library: Any = onnxruntime
        self._failures: tuple[type[Exception], ...] = (
            OSError,
            ValueError,
            RuntimeError,
            native.Fail,
            native.InvalidArgument,
            native.InvalidGraph,
            native.InvalidProtobuf,
            native.NoSuchFile,
            native.NotImplemented,
            native.RuntimeException,
        )

    def stage(
        self,
        path: Path,
        inputs: tuple[int, ...],
        output: int,
        *,
        threads: int = 1,
        batch: int = 1,
    ) -> OnnxStage:
        """Load one stage; see :class:`pipedtln.dtln.runtime.Runtime`."""
        one = self._loaded(path, threads)
        # Nothing is built for four: what is there for two serves.
        frames = min(batch, 2)
        beside = batch_beside(path, frames) if frames > 1 else None
        several = (frames, self._loaded(beside, threads)) if beside is not None else None
        return OnnxStage(one, several, path, inputs, output)

    def session(self, model: str | bytes, *, threads: int = 1) -> Any:
        """Load any graph, from a file or as it is, with the options that hops want."""
        options = self._library.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # The system's own allocator is 1-3 µs a hop faster for the few kilobytes between nodes.
        options.enable_cpu_mem_arena = False
        # A hop is a hundredth of the time between two; waiting threads must not burn the rest.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A state that fades out would end in denormal numbers, which are slow.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        return self._library.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def _loaded(self, path: Path, threads: int) -> Any:
        try:
            return self.session(str(path), threads=threads)
        except self._failures as error:
            raise ModelError(
                f"{path} cannot be loaded ({_one_line(error)}). "
                "Delete it and run: pipedtln models fetch"
            ) from error


class OnnxStage:
    """A stage on an onnxruntime session, and perhaps on another one for several frames at once.

    All tensors are bound to arrays of this object once. Two bindings of each session take turns:
    the state that one writes is the state that the other reads, whichever session is next.
    """

    def __init__(
        self,
        one: Any,
        several: tuple[int, Any] | None,
        path: Path,
        inputs: tuple[int, ...],
        output: int,
    ) -> None:
        units = {tensor.name: tensor.shape for tensor in one.get_inputs()}.get(_STATES[0], (1, 0))
        states = [{name: np.zeros((1, units[1]), np.float32) for name in _STATES} for _ in range(2)]
        self._states: list[dict[str, Tensor]] = states
        self._one = _Bound(one, path, (len(inputs), 1, inputs[0]), output, states)
        self._several = None
        if several is not None:
            frames, session = several
            heard = len(inputs), frames, inputs[0]
            self._several = _Bound(session, path, heard, output, states)
        self._turn = 0

    @property
    def batch(self) -> int:
        """Frames that :meth:`run_batch` takes; 1 where each must go alone."""
        return 1 if self._several is None else self._several.frames

    def run(self, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        """Infer one frame; see :class:`pipedtln.dtln.runtime.Stage`."""
        self._one.run(self._turn, inputs, out)
        self._turn = 1 - self._turn

    def run_batch(self, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        """Infer several frames; see :class:`pipedtln.dtln.runtime.BatchStage`."""
        several = self._several
        assert several is not None
        several.run(self._turn, inputs, out)
        self._turn = 1 - self._turn

    def reset(self) -> None:
        """Zero the state, as if newly made."""
        for state in self._states:
            for part in state.values():
                part.fill(0.0)


class _Bound:
    """A session and the arrays that it reads and writes.

    Parameters
    ----------
    heard : signals, frames that are inferred at once, and size of each
    output : size of what is told of each frame
    states : two places for the state
    """

    def __init__(
        self,
        session: Any,
        path: Path,
        heard: tuple[int, int, int],
        output: int,
        states: list[dict[str, Tensor]],
    ) -> None:
        signals, frames, size = heard
        self.frames = frames
        """Frames that it infers at once."""
        given = {tensor.name: tuple(tensor.shape) for tensor in session.get_inputs()}
        made = {tensor.name: tuple(tensor.shape) for tensor in session.get_outputs()}
        shapes = {name: state.shape for name, state in states[0].items()}
        if given != {"x": (signals * frames, size), **shapes} or made != {
            "y": (frames, output),
            **{f"next_{name}": shape for name, shape in shapes.items()},
        }:
            raise ModelError(
                f"{path} is not the network stage it is said to be (inputs {given}, "
                f"outputs {made}). Delete it and run: pipedtln models fetch"
            )
        x: Tensor = np.zeros((frames * signals, size), np.float32)
        self._told: Tensor = np.zeros((frames, output), np.float32)
        # A frame's signals lie together; those who call give each signal's frames together.
        self._heard = tuple(x.reshape(frames, signals, size).swapaxes(0, 1))
        self._infer = [
            bind(
                session,
                {"x": x, **before},
                {"y": self._told, **{f"next_{name}": one for name, one in after.items()}},
            )
            for before, after in (states, states[::-1])
        ]

    def run(self, turn: int, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        """Infer from the state in one of the two places to that in the other."""
        for array, value in zip(self._heard, inputs):  # noqa: B905 - sizes are held by the caller
            array[:] = value
        self._infer[turn]()
        out[:] = self._told


def bind(session: Any, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> Callable[[], None]:
    """The session on these arrays, by name, which must live as long as what is returned."""
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    for name, array in outputs.items():
        binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
    return partial(session.run_with_iobinding, binding)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
