"""A stage that infers in a thread of its own, beside whatever its caller does meanwhile."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from queue import SimpleQueue

import numpy as np

from pipedtln.dtln.runtime import Stage
from pipedtln.dtln.tensor import Tensor


class PipelinedStage:
    """Gives the result for the previous frame while the present one is being inferred.

    One frame later than the stage itself and otherwise equal to it. Both runtimes release the
    interpreter lock while they infer, so that a thread is enough for two cores to work; an
    exception of the stage is raised by the next call. The thread ends with the object.

    Parameters
    ----------
    stage : what to run; nobody else may use it
    inputs : sizes of its inputs besides the state
    output : size of its output besides the state

    Source: the two-process pipelines of the real-time DTLN ports for small boards.
    """

    def __init__(self, stage: Stage, inputs: Sequence[int], output: int) -> None:
        self._work = work = _Work(stage, inputs, output)
        self._ready = True
        threading.Thread(target=work.go_on, name="pipedtln-stage", daemon=True).start()
        self._end = weakref.finalize(self, work.begin.put, False)

    def run(self, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        """Begin one frame and give the one before; see :class:`pipedtln.dtln.runtime.Stage`.

        The inputs are copied, and may change as soon as this returns.
        """
        work = self._await()
        error, work.error = work.error, None
        if error is not None:
            raise error
        out[:] = work.output
        for mine, theirs in zip(work.inputs, inputs):  # noqa: B905 - sizes are held by the caller
            mine[:] = theirs
        self._ready = False
        work.begin.put(True)

    def reset(self) -> None:
        """Zero the state and the frame that is still to come, as if newly made."""
        work = self._await()
        work.error = None
        work.output.fill(0.0)
        work.stage.reset()

    def forget(self) -> None:
        """Zero the state alone: the frame that is still to come is given."""
        self._await().stage.reset()

    def _await(self) -> _Work:
        work = self._work
        if not self._ready:
            work.done.get()
            self._ready = True
        return work


class _Work:
    """What the thread holds: nothing that would keep the pipelined stage itself alive."""

    def __init__(self, stage: Stage, inputs: Sequence[int], output: int) -> None:
        self.stage = stage
        self.inputs: tuple[Tensor, ...] = tuple(np.zeros(size, np.float32) for size in inputs)
        self.output: Tensor = np.zeros(output, np.float32)
        self.error: Exception | None = None
        self.begin: SimpleQueue[bool] = SimpleQueue()
        self.done: SimpleQueue[None] = SimpleQueue()

    def go_on(self) -> None:
        while self.begin.get():
            try:
                self.stage.run(self.inputs, self.output)
            except Exception as error:  # noqa: BLE001 - it is the caller's, one frame later
                self.error = error
            self.done.put(None)
