"""One stage of a network: named tensors in, one tensor out, states fed back."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipedtln.dtln.chatter import greeting_logged
from pipedtln.errors import ModelError

Tensor: TypeAlias = NDArray[np.float32]
View: TypeAlias = Callable[[], Tensor]


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
            with greeting_logged():
                interpreter = self._interpreter(model_path=str(path), num_threads=threads)
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError, OSError) as error:
            raise ModelError(
                f"{path} cannot be loaded ({_one_line(error)}). "
                "Delete it and run: pipedtln models fetch"
            ) from error
        return LiteStage(interpreter, path, inputs, output)


class LiteStage:
    """A stage on a TensorFlow Lite interpreter.

    The interpreter's own buffers are written and read in place. A view of them must not live
    while the interpreter runs, so each is taken anew for each use; that costs 0.3 µs.
    """

    def __init__(self, interpreter: Any, path: Path, inputs: tuple[int, ...], output: int) -> None:
        given = _by_name(interpreter.get_input_details())
        made = _by_name(interpreter.get_output_details())
        values = [tensor for tensor in given if not _is_state(tensor)]
        results = [tensor for tensor in made if not _is_state(tensor)]
        states_in = [tensor for tensor in given if _is_state(tensor)]
        states_out = [tensor for tensor in made if _is_state(tensor)]
        if (
            tuple(_size(tensor) for tensor in values) != inputs
            or [_size(tensor) for tensor in results] != [output]
            or len(states_in) != 1
            or len(states_out) != 1
            or _size(states_in[0]) != _size(states_out[0])
            or any(tensor["dtype"] is not np.float32 for tensor in (*given, *made))
        ):
            raise ModelError(
                f"{path} is not the network stage it is said to be "
                f"(inputs {[_size(tensor) for tensor in given]}, "
                f"outputs {[_size(tensor) for tensor in made]}). "
                "Delete it and run: pipedtln models fetch"
            )
        self._invoke: Callable[[], None] = interpreter.invoke
        self._values: tuple[View, ...] = tuple(_view(interpreter, tensor) for tensor in values)
        self._result = _view(interpreter, results[0])
        self._state_in = _view(interpreter, states_in[0])
        self._state_out = _view(interpreter, states_out[0])
        self.reset()

    def run(self, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        """Infer one frame; see :class:`Stage`."""
        for view, value in zip(self._values, inputs):  # noqa: B905 - sizes are held by the caller
            view()[:] = value
        self._invoke()
        out[:] = self._result()
        self._state_in()[:] = self._state_out()

    def reset(self) -> None:
        """Zero the state, as if newly made."""
        self._state_in().fill(0.0)


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


def _view(interpreter: Any, tensor: dict[str, Any]) -> View:
    view: View = interpreter.tensor(tensor["index"])
    return view


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
