"""The published streaming recipes of DTLN and DTLN-aec, plainly, to compare with and to time.

Frame after frame with copies everywhere, magnitude and phase taken apart and put together again,
state tensors carried by hand: nothing is shared with the package.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

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
        self.states_1 = np.zeros((1, 2, _units(self.one), 2), np.float32)
        self.states_2 = np.zeros((1, 2, _units(self.two), 2), np.float32)
        self.mic = np.zeros(BLOCK, np.float32)
        self.ref = np.zeros(BLOCK, np.float32)
        self.out = np.zeros(BLOCK, np.float32)

    def step(self, mic: Samples, ref: Samples) -> Samples:
        self.mic = np.concatenate((self.mic[SHIFT:], mic))
        self.ref = np.concatenate((self.ref[SHIFT:], ref))
        spectrum = np.fft.rfft(self.mic)
        magnitude = np.abs(spectrum).astype(np.float32)
        phase = np.angle(spectrum)
        self.one.set_tensor(self.mic_1, magnitude.reshape(1, 1, -1))
        if self.with_reference:
            ref_magnitude = np.abs(np.fft.rfft(self.ref)).astype(np.float32)
            self.one.set_tensor(self.ref_1, ref_magnitude.reshape(1, 1, -1))
        self.one.set_tensor(self.state_1, self.states_1)
        self.one.invoke()
        mask, self.states_1 = _results(self.one)
        estimate = np.fft.irfft(magnitude * mask.reshape(-1) * np.exp(1j * phase))
        self.two.set_tensor(self.mic_2, estimate.reshape(1, 1, -1).astype(np.float32))
        if self.with_reference:
            self.two.set_tensor(self.ref_2, self.ref.reshape(1, 1, -1))
        self.two.set_tensor(self.state_2, self.states_2)
        self.two.invoke()
        block, self.states_2 = _results(self.two)
        self.out = np.concatenate((self.out[SHIFT:], np.zeros(SHIFT, np.float32)))
        self.out += block.reshape(-1)
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


def _results(interpreter: Any) -> tuple[Samples, Samples]:
    details = interpreter.get_output_details()
    (state,) = _states(details)
    (value,) = (detail for detail in details if len(detail["shape"]) == 3)
    return interpreter.get_tensor(value["index"]), interpreter.get_tensor(state["index"])
