"""Keeps the journal worth reading: what repeats itself all the time is counted, not told."""

from __future__ import annotations

import logging
from time import monotonic


class Sparing(logging.Filter):
    """Lets each kind of line through a few times a minute, then says how many were left out.

    Lines are of a kind if they come from the same statement, whatever they name.

    Parameters
    ----------
    most : lines of one kind in one window
    window_s : seconds
    """

    def __init__(self, most: int = 12, window_s: float = 60.0) -> None:
        super().__init__()
        self._most = most
        self._window_s = window_s
        self._kinds: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is told; see :class:`logging.Filter`."""
        kind = (record.pathname, record.lineno)
        now = monotonic()
        since, count = self._kinds.get(kind, (now, 0))
        if now - since > self._window_s:
            if count > self._most:
                left_out = count - self._most
                record.msg = f"{record.getMessage()} (and {left_out} like this in the last minute)"
                record.args = ()
            since, count = now, 0
        self._kinds[kind] = (since, count + 1)
        return count < self._most
