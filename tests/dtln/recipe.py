"""The published streaming recipes of DTLN and DTLN-aec, plainly, to compare with and to time.

Frame after frame with copies everywhere and state tensors carried by hand: nothing is shared with
the package. As in the authors' scripts (DTLN's real_time_processing_tf_lite.py, DTLN-aec's
run_aec.py, PiDTLN's ns.py and aec.py), tensors are looked up once, and magnitude and phase are
taken apart and put together again for noise suppression alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from ai_edge_litert.interpreter import Interpreter
except ModuleNotFoundError:  # benchmarks time the same on tflite-runtime, where it alone is
    from tflite_runtime.interpreter import Interpreter

Samples = NDArray[np.float32]

BLOCK = 512
SHIFT = 128


class Recipe:
    """One network as its authors run it; ``step`` takes and gives 128 samples."""

    def __init__(self, first: Path, second: Path) -> None:
        self.one = Interpreter(model_path=str(first), num_threads=1)
        self.two = Interpreter(model_path=str(second), num_threads=1)
        self.one.allocate_tensors()
        self.two.allocate_tensors()
        self.with_reference = len(self.one.get_input_details()) == 3
        numbers = (3, 4, 5, 6, 7, 8) if self.with_reference else (2, None, 3, 4, None, 5)
        self.mic_1, self.ref_1, self.state_1 = (_named(self.one, n) for n in numbers[:3])
        self.mic_2, self.ref_2, self.state_2 = (_named(self.two, n) for n in numbers[3:])
        (self.mask, self.next_1), (self.frame, self.next_2) = _made(self.one), _made(self.two)
        self.states_1 = np.zeros((1, 2, _units(self.one), 2), np.float32)
        self.states_2 = np.zeros((1, 2, _units(self.two), 2), np.float32)
        self.mic = np.zeros(BLOCK, np.float32)
        self.ref = np.zeros(BLOCK, np.float32)
        self.out = np.zeros(BLOCK, np.float32)

    def step(self, mic: Samples, ref: Samples) -> Samples:
        _shift(self.mic, mic)
        if self.with_reference:
            _shift(self.ref, ref)
            spectrum = np.fft.rfft(self.mic).astype("complex64")
            magnitude = _tensor(np.abs(spectrum))
            ref_spectrum = np.fft.rfft(self.ref).astype("complex64")
            self.one.set_tensor(self.ref_1, _tensor(np.abs(ref_spectrum)))
        else:
            spectrum = np.fft.rfft(self.mic)
            magnitude, phase = _tensor(np.abs(spectrum)), np.angle(spectrum)
        self.one.set_tensor(self.mic_1, magnitude)
        self.one.set_tensor(self.state_1, self.states_1)
        self.one.invoke()
        mask = self.one.get_tensor(self.mask)
        self.states_1 = self.one.get_tensor(self.next_1)
        if self.with_reference:
            estimate = np.fft.irfft(spectrum * mask)
            self.two.set_tensor(self.ref_2, _tensor(self.ref))
        else:
            estimate = np.fft.irfft(magnitude * mask * np.exp(1j * phase))
        self.two.set_tensor(self.mic_2, _tensor(estimate))
        self.two.set_tensor(self.state_2, self.states_2)
        self.two.invoke()
        frame = self.two.get_tensor(self.frame)
        self.states_2 = self.two.get_tensor(self.next_2)
        _shift(self.out, np.zeros(SHIFT))
        self.out += np.squeeze(frame)
        return self.out[:SHIFT].copy()

    def run(self, mic: Samples, ref: Samples) -> Samples:
        hops = len(mic) // SHIFT
        pieces = [
            self.step(mic[i * SHIFT : (i + 1) * SHIFT], ref[i * SHIFT : (i + 1) * SHIFT])
            for i in range(hops)
        ]
        return np.concatenate(pieces)


def _named(interpreter: Any, number: int | None) -> int:
    """Index of the input whose name ends in ``_<number>``; conversions add ``:0`` or a prefix."""
    if number is None:
        return -1
    (index,) = (
        detail["index"]
        for detail in interpreter.get_input_details()
        if detail["name"].removesuffix(":0").endswith(f"_{number}")
    )
    return int(index)


def _units(interpreter: Any) -> int:
    return int(max(detail["shape"][2] for detail in _states(interpreter.get_input_details())))


def _states(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [detail for detail in details if len(detail["shape"]) == 4]


def _made(interpreter: Any) -> tuple[int, int]:
    details = interpreter.get_output_details()
    (state,) = _states(details)
    (value,) = (detail for detail in details if len(detail["shape"]) == 3)
    return int(value["index"]), int(state["index"])


def _shift(buffer: Samples, newest: NDArray[Any]) -> None:
    buffer[:-SHIFT] = buffer[SHIFT:]
    buffer[-SHIFT:] = newest


def _tensor(values: NDArray[Any]) -> Samples:
    return np.reshape(values, (1, 1, -1)).astype("float32")
