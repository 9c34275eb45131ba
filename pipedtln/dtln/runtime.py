"""One stage of a network: named tensors in, one tensor out, states fed back."""

from __future__ import annotations

import ctypes
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipedtln.dtln.apart import PIECES, take_apart
from pipedtln.dtln.chatter import greeting_logged
from pipedtln.errors import ModelError

Tensor: TypeAlias = NDArray[np.float32]


class Stage(Protocol):
    """A network stage that keeps its own recurrent state. Belongs to one thread."""

    def run(self, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        """Infer one frame and keep the new state for the next one.

        Parameters
        ----------
        inputs : float32, shape (size,) each, in the order of the network's published inputs
        out : float32, shape (size,); filled completely
        """

    def reset(self) -> None:
        """Zero the state, as if newly made."""


class Runtime(Protocol):
    """Makes stages from model files; a second engine needs this one method."""

    name: str

    def stage(self, path: Path, inputs: tuple[int, ...], output: int, *, threads: int) -> Stage:
        """Load one stage.

        Parameters
        ----------
        path : the model file
        inputs : sizes of the inputs besides the state, in the order of their published names
        output : size of the output besides the state
        threads : threads that one inference may use

        Raises
        ------
        ModelError
            If the file is not such a stage.
        """


class LiteRuntime:
    """TensorFlow Lite flatbuffers on LiteRT, or on tflite-runtime where it alone is installed.

    Raises
    ------
    ModelError
        If neither is installed.
    """

    def __init__(self) -> None:
        self.name, self._interpreter = _find_interpreter()

    def stage(
        self, path: Path, inputs: tuple[int, ...], output: int, *, threads: int = 1
    ) -> LiteStage:
        """Load one stage; see :class:`Runtime`."""
        try:
            apart = take_apart(path.read_bytes())
            model = {"model_content": apart} if apart else {"model_path": str(path)}
            with greeting_logged():
                interpreter = self._interpreter(**model, num_threads=threads)
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError, OSError) as error:
            raise ModelError(
                f"{path} cannot be loaded ({_one_line(error)}). "
                "Delete it and run: pipedtln models fetch"
            ) from error
        return LiteStage(interpreter, path, inputs, output)


class LiteStage:
    """A stage on a TensorFlow Lite interpreter.

    The interpreter's own buffers are written and read in place. All shapes are static, so they stay
    where they are from ``allocate_tensors`` on.

    Parameters
    ----------
    interpreter : with its tensors allocated
    path : for messages
    inputs, output : see :class:`Runtime`

    The state may be one tensor or in pieces, see :mod:`pipedtln.dtln.apart`.
    """

    def __init__(self, interpreter: Any, path: Path, inputs: tuple[int, ...], output: int) -> None:
        given, made = interpreter.get_input_details(), interpreter.get_output_details()
        if any(_is_state(tensor) for tensor in given):
            values = _by_name([tensor for tensor in given if not _is_state(tensor)])
            results = [tensor for tensor in made if not _is_state(tensor)]
            states_in = [tensor for tensor in given if _is_state(tensor)]
            states_out = [tensor for tensor in made if _is_state(tensor)]
        else:
            pieces = len(PIECES)
            values, states_in = _by_name(given[:-pieces]), given[-pieces:]
            results, states_out = made[:-pieces], made[-pieces:]
        if (
            tuple(_size(tensor) for tensor in values) != inputs
            or [_size(tensor) for tensor in results] != [output]
            or not states_in
            or [_size(tensor) for tensor in states_in] != [_size(tensor) for tensor in states_out]
            or any(tensor["dtype"] is not np.float32 for tensor in (*given, *made))
        ):
            raise ModelError(
                f"{path} is not the network stage it is said to be "
                f"(inputs {[_size(tensor) for tensor in given]}, "
                f"outputs {[_size(tensor) for tensor in made]}). "
                "Delete it and run: pipedtln models fetch"
            )
        self._invoke: Callable[[], None] = interpreter.invoke
        # Once, so that whatever is set up at first is set up, and buffers are where they stay.
        self._invoke()
        self._values = tuple(_buffer(interpreter, tensor) for tensor in values)
        self._result = _buffer(interpreter, results[0])
        self._states = tuple(
            (_buffer(interpreter, before), _buffer(interpreter, after))
            for before, after in zip(states_in, states_out, strict=True)
        )
        self.reset()

    def run(self, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        """Infer one frame; see :class:`Stage`."""
        for buffer, value in zip(self._values, inputs):  # noqa: B905 - sizes are held by the caller
            buffer[:] = value
        self._invoke()
        out[:] = self._result
        for before, after in self._states:
            before[:] = after

    def reset(self) -> None:
        """Zero the state, as if newly made."""
        for before, _ in self._states:
            before.fill(0.0)


def _find_interpreter() -> tuple[str, Any]:
    for name in ("ai_edge_litert", "tflite_runtime"):
        try:
            module = importlib.import_module(f"{name}.interpreter")
        except ModuleNotFoundError:
            continue
        except (ImportError, OSError) as error:
            raise ModelError(
                f"the runtime {name} cannot be loaded ({_one_line(error)}). "
                "Reinstall it with: pip install --force-reinstall ai-edge-litert"
            ) from error
        return name, module.Interpreter
    raise ModelError(
        "no runtime for the networks is installed. Install it with: pip install ai-edge-litert"
    )


def _by_name(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order tensors by the number in their names (``input_3``, ``..._3:0``), which the files share.

    Positions differ between files of one network; the numbers do not.
    """

    def number(tensor: dict[str, Any]) -> int:
        found = re.search(r"_(\d+)(?::\d+)?$", tensor["name"])
        return int(found.group(1)) if found else 0

    return sorted(details, key=number)


def _is_state(tensor: dict[str, Any]) -> bool:
    return len(tensor["shape"]) == 4


def _size(tensor: dict[str, Any]) -> int:
    return int(np.prod(tensor["shape"]))


def _buffer(interpreter: Any, tensor: dict[str, Any]) -> Tensor:
    """The interpreter's memory of a tensor, valid as long as the interpreter.

    Its own views would do, but must not live while it runs, and making a view for each use costs
    more than the copy it is for.
    """
    address = interpreter.tensor(tensor["index"])().ctypes.data
    memory = (ctypes.c_float * _size(tensor)).from_address(address)
    return np.frombuffer(memoryview(memory).cast("B"), np.float32)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
