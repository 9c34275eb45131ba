"""Alignment of a whole recording: the reference moved to its echo, with an eye on what follows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from pipedtln.processor import FRAME, HOP, Block
from pipedtln.stream.align import TARGET_LEAD, reference_hold
from pipedtln.stream.delay import MAX_LAG, DelayEstimator
from pipedtln.stream.flux import Array

Pair: TypeAlias = tuple[Block, Block]

FIRST_LOOK = 375
"""Hops (3 s) to look ahead for the first answer, which then serves from the beginning."""
LOOK = 150
"""Hops (1.2 s) to look ahead afterwards: about what the estimator takes to find a new path."""


def align_ahead(pairs: Iterator[Pair]) -> Iterator[Pair]:
    """Move the reference of a recording to `TARGET_LEAD` hops before its echo.

    The microphone's hops pass as they are, in order. The reference's are held back or brought
    forward, by cross-fading over a hop where the delay changes; beyond either end it is silent.
    Holds about five seconds of sound, whatever the length.

    Parameters
    ----------
    pairs : microphone and reference, float32, shape (128,) at 16 kHz each
    """
    estimator = DelayEstimator()
    ahead = _Spectra()
    mics: deque[Block] = deque()
    refs = _RefMemory()
    mover = _Mover(refs)
    for mic, ref in pairs:
        mics.append(mic)
        refs.add(ref)
        mic_power, ref_power = ahead.add(mic, ref)
        hop = refs.count - 1
        estimator.update(mic_power, hop, ref_power, hop)
        delay = estimator.delay_hops
        look = FIRST_LOOK if delay is None else LOOK
        while len(mics) > look:
            yield mics.popleft(), mover.next(delay)
    delay = estimator.delay_hops
    while mics:
        yield mics.popleft(), mover.next(delay)


class _Spectra:
    """Power spectra of the newest frames of both signals."""

    def __init__(self) -> None:
        self._frames = np.zeros((2, FRAME), np.float32)

    def add(self, mic: Block, ref: Block) -> tuple[Array, Array]:
        frames = self._frames
        frames[:, :-HOP] = frames[:, HOP:]
        frames[0, -HOP:] = mic
        frames[1, -HOP:] = ref
        spectra = np.fft.rfft(frames)
        power = (spectra.real**2 + spectra.imag**2).astype(np.float32)
        return power[0], power[1]


class _RefMemory:
    """The reference's hops by index, as far back as any may still be asked for."""

    def __init__(self) -> None:
        self.count = 0
        self._hops: deque[Block] = deque(maxlen=FIRST_LOOK + MAX_LAG + 2)
        self._silence: Block = np.zeros(HOP, np.float32)

    def add(self, hop: Block) -> None:
        self._hops.append(hop)
        self.count += 1

    def __getitem__(self, index: int) -> Block:
        at = index - (self.count - len(self._hops))
        return self._hops[at] if 0 <= at < len(self._hops) else self._silence


class _Mover:
    """Gives the reference hop by hop, moved by the delay that is known at that time."""

    def __init__(self, refs: _RefMemory) -> None:
        self._refs = refs
        self._next = 0
        self._hold = 0
        self._found = False
        ramp = (np.arange(HOP, dtype=np.float32) + 0.5) / HOP
        self._fade = (0.5 - 0.5 * np.cos(np.pi * ramp)).astype(np.float32)

    def next(self, delay: int | None) -> Block:
        old = self._hold
        if delay is not None:
            self._hold = reference_hold(old, delay) if self._found else delay - TARGET_LEAD
            self._found = True
            if self._next == 0:
                # there is nothing to fade from
                old = self._hold
        block = self._refs[self._next - self._hold]
        if old != self._hold:
            before = self._refs[self._next - old]
            block = (before + self._fade * (block - before)).astype(np.float32)
        self._next += 1
        return block
