"""Waits longer after each failure, so that what stays broken costs next to nothing."""

from __future__ import annotations


class Backoff:
    """The time before which nothing is tried again; all times are monotonic seconds.

    Parameters
    ----------
    first_s : pause after the first failure; each further one doubles it
    last_s : longest pause
    """

    def __init__(self, first_s: float, last_s: float) -> None:
        self._first_s = first_s
        self._last_s = last_s
        self.reset()

    def reset(self) -> None:
        """It works: forget the failures."""
        self.failures = 0
        self.at = 0.0
        """When the next attempt is due."""

    def fail(self, now: float) -> None:
        """It failed again."""
        self.at = now + min(self._last_s, self._first_s * 2.0 ** min(self.failures, 30))
        self.failures += 1

    def due(self, now: float) -> bool:
        """Whether it may be tried."""
        return now >= self.at
