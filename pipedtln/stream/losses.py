"""Tells what one of two streams has lost that the other has not, by when their sound arrives.

How much waits in a ring tells a loss as well, but as slowly as one has to watch until bursts and
drift are told apart from it; and a loss is known to the sample by the clock.
"""

from __future__ import annotations

import math

from pipedtln.stream.ring import Ring

LEAST = 96
"""Samples (6 ms) from which a step is taken for a loss. A machine that is late moves it by some
2 ms, what a server holds back until a fragment is full by up to a third of a period."""


class LossWatch:
    """Compares how two streams get on, look by look.

    Parameters
    ----------
    mic, ref : the streams
    """

    def __init__(self, mic: Ring, ref: Ring) -> None:
        self._mic = mic
        self._ref = ref
        self.forget()

    def forget(self) -> None:
        """Begin anew: how far they are apart now is no loss."""
        self._apart = math.nan
        self._mic.lead()
        self._ref.lead()

    def look(self) -> int:
        """Samples that ``mic`` has lost more than ``ref`` since the last look; negative if it is
        ``ref`` that lost them. 0 for less than :data:`LEAST`.

        Look every half second or so: what came in between must have been on time once. A stream
        that was late all the while seems to have lost sound, and by the next look to have gained
        it: then the other one has lost as much.
        """
        apart = self._ref.lead() - self._mic.lead()
        if not math.isfinite(apart):
            # One of them stands still: that is no matter of a few samples.
            self._apart = math.nan
            return 0
        step = apart - self._apart
        self._apart = apart
        return round(step) if abs(step) >= LEAST else 0
