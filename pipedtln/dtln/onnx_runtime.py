"""Stages as ONNX graphs on onnxruntime: bound buffers, the state handed on without a copy."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipedtln.dtln.blockwise import LAYERS, state_names
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
        pairs: bool = False,
    ) -> OnnxStage:
        """Load one stage; see :class:`pipedtln.dtln.runtime.Runtime`."""
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
        try:
            session = self._library.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except self._failures as error:
            raise ModelError(
                f"{path} cannot be loaded ({_one_line(error)}). "
                "Delete it and run: pipedtln models fetch"
            ) from error
        return OnnxStage(session, path, inputs, output)


class OnnxStage:
    """A stage on an onnxruntime session.

    All tensors are bound to arrays of this object once. Two bindings take turns: the state that
    one writes is the state that the other reads.
    """

    def __init__(self, session: Any, path: Path, inputs: tuple[int, ...], output: int) -> None:
        given = {tensor.name: tuple(tensor.shape) for tensor in session.get_inputs()}
        made = {tensor.name: tuple(tensor.shape) for tensor in session.get_outputs()}
        units = given.get(_STATES[0], (1, 0))[1]
        states = dict.fromkeys(_STATES, (1, units))
        if given != {"x": (len(inputs), inputs[0]), **states} or made != {
            "y": (1, output),
            **{f"next_{name}": shape for name, shape in states.items()},
        }:
            raise ModelError(
                f"{path} is not the network stage it is said to be (inputs {given}, "
                f"outputs {made}). Delete it and run: pipedtln models fetch"
            )
        heard: Tensor = np.zeros((len(inputs), inputs[0]), np.float32)
        told: Tensor = np.zeros((1, output), np.float32)
        self._rows = tuple(heard)
        self._told: Tensor = told[0]
        self._states: list[dict[str, Tensor]] = [
            {name: np.zeros((1, units), np.float32) for name in _STATES} for _ in range(2)
        ]
        self._this, self._next = (
            self._bound(session, heard, told, before, after)
            for before, after in (self._states, self._states[::-1])
        )

    def run(self, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        """Infer one frame; see :class:`pipedtln.dtln.runtime.Stage`."""
        for row, value in zip(self._rows, inputs):  # noqa: B905 - sizes are held by the caller
            row[:] = value
        self._this()
        self._this, self._next = self._next, self._this
        out[:] = self._told

    def reset(self) -> None:
        """Zero the state, as if newly made."""
        for state in self._states:
            for part in state.values():
                part.fill(0.0)

    def _bound(
        self,
        session: Any,
        heard: Tensor,
        told: Tensor,
        before: dict[str, Tensor],
        after: dict[str, Tensor],
    ) -> Callable[[], None]:
        """The session on these arrays, which must live as long as what is returned."""
        binding = session.io_binding()
        for name, array in (("x", heard), *before.items()):
            binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        for name, array in (("y", told), *((f"next_{name}", a) for name, a in after.items())):
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return partial(session.run_with_iobinding, binding)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
