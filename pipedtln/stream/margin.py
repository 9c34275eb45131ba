"""How much sound stands ready in the output queue: what lateness has shown to be of use, no more.

All of it is latency, paid all the time, and used in moments. So a single underrun moves nothing; a
second one within a minute asks for as much as would have covered both, at once rather than click by
click, and for nothing where no margin would do. It is given back by halves, but for what lateness
has used of it meanwhile: a machine that is late again and again keeps its margin, and is not put
to the test every few minutes.
"""

from __future__ import annotations

from pipedtln.processor import HOP

AGAIN_HOPS = 50
"""Hops (0.4 s) within which a second late one, or after a start the first, shows a queue that is
too thin rather than a machine that was busy once."""
RAISE = 48
"""Samples (3 ms) by which a margin is longer than the lateness that it covers; and that are added
where a queue runs dry though nothing was late by as much."""
LATELY_HOPS = 7_500
"""Hops (1 min) in which a second underrun shows a margin that is too thin. A machine that is late
less often than that is heard seldom, and by how much it will be the next time nobody knows: more
latency would be paid all the time."""
LOWER_HOPS = 37_500
"""Hops (5 min) without underrun after which half of what underruns added is taken away again, if it
was of no use: each trial of a thinner margin may be heard. Nothing heard is as calm as that."""
_LONG_AGO = -(1 << 30)


def least_margin(period: int) -> int:
    """Samples that shall remain at the emptiest where sound comes ``period`` samples at a time.

    Whoever asks for long periods to save wake-ups is no less ready to wait for late ones.
    """
    return period * 3 // 4


class Margin:
    """Samples that shall remain in the output queue at the emptiest.

    Parameters
    ----------
    more : samples that underruns may add
    """

    def __init__(self, more: int) -> None:
        self._more = more
        self._least = self.samples = least_margin(HOP)
        self.reset(HOP)

    def reset(self, period: int, idle_hops: int = 0) -> None:
        """Start anew with what is right for ``period`` samples at a time.

        What was added stays where that is as before, so that a machine that is late is not put to
        the test at every opening; ``idle_hops`` since the last one count as calm.
        """
        least = least_margin(period)
        added = self.samples - least if least == self._least else 0
        self._least = least
        self.samples = least + _halved(added, idle_hops // LOWER_HOPS)
        self._now = 0
        self._dry_at = _LONG_AGO
        self._again = False
        self._used = self._used_before = 0
        self._wanted = 0
        self._calm_from = 0

    def underrun(self) -> None:
        """The queue ran dry. What runs dry within :data:`AGAIN_HOPS` of that is part of it."""
        if self._now - self._dry_at <= AGAIN_HOPS:
            return
        self._again = self._now - self._dry_at <= LATELY_HOPS
        self._dry_at = self._now
        # From here on that of this underrun.
        self._used_before, self._used = self._used, 0

    def hop(self, late: int) -> None:
        """A hop has come ``late`` samples later than usual."""
        self._now += 1
        self._used = max(self._used, late)
        since = self._now - self._dry_at
        if since == AGAIN_HOPS + 1:
            self._decide()
        elif since > AGAIN_HOPS and self._now - self._calm_from >= LOWER_HOPS:
            self._lower()

    def _decide(self) -> None:
        """Raise the margin for the last underrun, all of which has been seen, or leave it."""
        wanted, before = self._used + RAISE, self._wanted
        self._wanted = wanted
        most = self._least + self._more
        if wanted > most:
            # As if it had not been: no margin would have helped, so it tells nothing of this one.
            self._used = self._used_before
        else:
            self._used = 0
            self._calm_from = self._now
        both = min(wanted, before)
        if self._again and both <= most:
            # Where it had not been late by as much, the server has its own reasons.
            self.samples = min(most, both if both > self.samples else self.samples + RAISE)

    def _lower(self) -> None:
        """Take away half of what was added, but not what has been used."""
        halved = self._least + _halved(self.samples - self._least, 1)
        self.samples = max(halved, min(self.samples, self._used + RAISE))
        self._used = 0
        self._calm_from = self._now


def _halved(added: int, times: int) -> int:
    """What is left of added samples; too little to be of use is given back whole."""
    left = added >> times
    return left if left >= RAISE // 2 or not times else 0
