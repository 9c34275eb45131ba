"""A ring of samples between one writing and one reading thread, without a lock."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from time import monotonic

import numpy as np

from pipedtln.processor import SAMPLE_RATE, Block

SAMPLE_BYTES = 4


class Ring:
    """Single-reader single-writer ring of float32 samples.

    The writer alone moves the write count and the reader alone the read count; both only grow,
    so that each side may be a little behind about the other but never wrong. A full ring drops
    what comes in and counts it: the reader decides what is stale, not the writer.

    Parameters
    ----------
    capacity : samples the ring can hold
    clock : tells the seconds by which :meth:`lead` goes
    """

    def __init__(self, capacity: int, clock: Callable[[], float] = monotonic) -> None:
        self._data = np.zeros(capacity, dtype=np.float32)
        self._address = self._data.ctypes.data
        self._capacity = capacity
        self._written = 0
        self._read = 0
        self._clock = clock
        self._lead = -math.inf
        self.dropped = 0
        """Samples that found the ring full."""

    @property
    def readable(self) -> int:
        """Samples that wait to be read."""
        return self._written - self._read

    @property
    def written(self) -> int:
        """Samples written since the ring was made."""
        return self._written

    @property
    def taken(self) -> int:
        """Samples read or skipped since the ring was made."""
        return self._read

    def write(self, block: Block) -> None:
        """Append samples (writer's side); what does not fit is dropped and counted."""
        count = self._fitting(len(block))
        start = self._written % self._capacity
        end = start + count
        if end <= self._capacity:
            self._data[start:end] = block[:count]
        else:
            split = self._capacity - start
            self._data[start:] = block[:split]
            self._data[: end - self._capacity] = block[split:count]
        self._wrote(count)

    def write_at(self, address: int, count: int) -> None:
        """As :meth:`write`, of ``count`` float32 samples at an address in memory.

        A foreign library's buffer goes in at a third of the cost of wrapping it in an array first.
        """
        count = self._fitting(count)
        start = self._written % self._capacity
        split = min(count, self._capacity - start)
        ctypes.memmove(self._address + start * SAMPLE_BYTES, address, split * SAMPLE_BYTES)
        if split < count:
            rest = address + split * SAMPLE_BYTES
            ctypes.memmove(self._address, rest, (count - split) * SAMPLE_BYTES)
        self._wrote(count)

    def write_silence(self, count: int) -> None:
        """Append ``count`` zeros (writer's side)."""
        self.write(np.zeros(count, dtype=np.float32))

    def lead(self) -> float:
        """By how many samples writing was ahead of the clock at best since this was last asked
        (reader's side).

        What matters is how it changes: sound may come late, but not early, so the best stays what
        it was, but for some ppm, until samples are lost on their way here. Minus infinity where
        nothing was written.
        """
        best, self._lead = self._lead, -math.inf
        return best

    def _wrote(self, count: int) -> None:
        self._written += count
        lead = self._written - self._clock() * SAMPLE_RATE
        self._lead = max(self._lead, lead)

    def _fitting(self, count: int) -> int:
        room = self._capacity - (self._written - self._read)
        if count > room:
            self.dropped += count - room
            return room
        return count

    def read(self, out: Block) -> int:
        """Fill the start of ``out`` with what is there (reader's side).

        Returns
        -------
        int
            Samples read; the rest of ``out`` is untouched.
        """
        count = min(len(out), self._written - self._read)
        start = self._read % self._capacity
        end = start + count
        if end <= self._capacity:
            out[:count] = self._data[start:end]
        else:
            split = self._capacity - start
            out[:split] = self._data[start:]
            out[split:count] = self._data[: end - self._capacity]
        self._read += count
        return count

    def skip(self, count: int) -> int:
        """Forget up to ``count`` of the oldest samples (reader's side); returns how many."""
        count = min(count, self._written - self._read)
        self._read += count
        return count
