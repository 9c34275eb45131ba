"""One stage of a network: named tensors in, one tensor out, states fed back."""

from __future__ import annotations

import ctypes
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeGuard

import numpy as np

from pipedtln.dtln.apart import PIECES, take_apart
from pipedtln.dtln.chatter import greeting_logged
from pipedtln.dtln.stagefile import build_file
from pipedtln.dtln.tensor import Tensor
from pipedtln.dtln.weights import read_any_weights
from pipedtln.errors import ModelError

BATCH_FILES = {2: "pair", 4: "four"}
"""What stands for "stage" in the name of the same stage's file for several frames at once."""


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


class BatchStage(Stage, Protocol):
    """A stage that may take several frames at once."""

    @property
    def batch(self) -> int:
        """Frames that :meth:`run_batch` takes; 1 where each must go alone."""

    def run_batch(self, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        """Infer :attr:`batch` frames in order, in less time than as many calls of :meth:`run` take.

        Parameters
        ----------
        inputs : float32, shape (batch, size) each
        out : float32, shape (batch, size); filled completely
        """


def runs_batches(stage: Stage) -> TypeGuard[BatchStage]:
    """Whether :meth:`BatchStage.run_batch` may be called."""
    return int(getattr(stage, "batch", 1)) > 1


class Runtime(Protocol):
    """Makes stages from model files; a second engine needs this one method."""

    name: str

    def stage(
        self,
        path: Path,
        inputs: tuple[int, ...],
        output: int,
        *,
        threads: int = 1,
        batch: int = 1,
    ) -> Stage:
        """Load one stage.

        Parameters
        ----------
        path : the model file
        inputs : sizes of the inputs besides the state, in the order of their published names
        output : size of the output besides the state
        threads : threads that one inference may use
        batch : frames to be ready for at once, too, as far as this engine can: 1, 2 or 4

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
        self,
        path: Path,
        inputs: tuple[int, ...],
        output: int,
        *,
        threads: int = 1,
        batch: int = 1,
    ) -> LiteStage:
        """Load one stage; see :class:`Runtime`."""
        try:
            apart = take_apart(path.read_bytes())
            model = {"model_content": apart} if apart else {"model_path": str(path)}
            one = self._loaded(model, threads)
            several = self._loaded(_for_several(path, batch), threads) if batch > 1 else None
        except (ValueError, RuntimeError, OSError) as error:
            raise ModelError(
                f"{path} cannot be loaded ({_one_line(error)}). "
                "Delete it and run: pipedtln models fetch"
            ) from error
        return LiteStage(
            _Loaded(one, path, inputs, output),
            _Loaded(several, path, inputs, output, batch) if several is not None else None,
        )

    def _loaded(self, model: dict[str, Any], threads: int) -> Any:
        with greeting_logged():
            interpreter = self._interpreter(**model, num_threads=threads)
            interpreter.allocate_tensors()
        return interpreter


class LiteStage:
    """A stage on a TensorFlow Lite interpreter, and perhaps on another one for several frames.

    The state is where the last frame left it: whoever is to run next takes it over.
    """

    def __init__(self, one: _Loaded, several: _Loaded | None = None) -> None:
        self._one = self._latest = one
        self._several = several

    @property
    def batch(self) -> int:
        """Frames that :meth:`run_batch` takes; 1 where each must go alone."""
        return 1 if self._several is None else self._several.frames

    def run(self, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        """Infer one frame; see :class:`Stage`."""
        one = self._one
        if self._latest is not one:
            self._take_over(one)
        one.run(inputs, out)

    def run_batch(self, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        """Infer several frames; see :class:`BatchStage`."""
        several = self._several
        assert several is not None
        if self._latest is not several:
            self._take_over(several)
        several.run(inputs, out)

    def reset(self) -> None:
        """Zero the state, as if newly made."""
        self._latest.reset()

    def _take_over(self, loaded: _Loaded) -> None:
        for mine, theirs in zip(loaded.states, self._latest.states, strict=True):
            mine[:] = theirs
        self._latest = loaded


class _Loaded:
    """An interpreter and its buffers, which are written and read in place.

    All shapes are static, so they stay where they are from ``allocate_tensors`` on. The state may
    be one tensor or in pieces, see :mod:`pipedtln.dtln.apart`.

    Parameters
    ----------
    interpreter : with its tensors allocated
    path : for messages
    inputs, output : see :class:`Runtime`
    frames : that it infers at once
    """

    def __init__(
        self,
        interpreter: Any,
        path: Path,
        inputs: tuple[int, ...],
        output: int,
        frames: int = 1,
    ) -> None:
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
            tuple(_size(tensor) for tensor in values) != tuple(frames * size for size in inputs)
            or [_size(tensor) for tensor in results] != [frames * output]
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
        self.frames = frames
        """Frames that it infers at once."""
        self.invoke: Callable[[], None] = interpreter.invoke
        # Once, so that whatever is set up at first is set up, and buffers are where they stay.
        self.invoke()
        shape = (frames, -1) if frames > 1 else (-1,)
        self._values = tuple(_buffer(interpreter, tensor).reshape(shape) for tensor in values)
        self._result = _buffer(interpreter, results[0]).reshape(shape)
        self.states = tuple(_buffer(interpreter, tensor) for tensor in states_in)
        """What the next frame begins with."""
        after = (_buffer(interpreter, tensor) for tensor in states_out)
        self._carried = tuple(zip(self.states, after, strict=True))
        self.reset()

    def run(self, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        """Infer, and carry the state on."""
        for buffer, value in zip(self._values, inputs):  # noqa: B905 - sizes are held by the caller
            buffer[:] = value
        self.invoke()
        out[:] = self._result
        for before, after in self._carried:
            before[:] = after

    def reset(self) -> None:
        """Zero the state."""
        for before in self.states:
            before.fill(0.0)


def batch_beside(path: Path, frames: int) -> Path | None:
    """The file of the same stage for several frames at once, if it was built."""
    beside = path.with_name(path.name.replace("stage", BATCH_FILES[frames]))
    return beside if beside != path and beside.is_file() else None


def _for_several(path: Path, frames: int) -> dict[str, Any]:
    """The same stage for several frames: built beside it, or to be made of it in memory."""
    beside = batch_beside(path, frames)
    if beside is not None:
        return {"model_path": str(beside)}
    return {"model_content": build_file(read_any_weights(path), frames)}


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
