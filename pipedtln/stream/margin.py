"""How much sound stands ready in the output queue: what lateness has shown to be of use, no more.

All of it is latency, paid all the time, and used in moments. So one underrun moves nothing, nor do
two; a third one within five minutes asks for as much as would have covered all of them but the
worst, at once rather than click by click, and for nothing where no margin would do. It is given
back by halves, but for what lateness has used of it meanwhile: a machine that is late again and
again keeps its margin, and is not put to the test every few minutes.
"""

from __future__ import annotations

from collections import deque

from pipedtln.processor import HOP

AGAIN_HOPS = 50
"""Hops (0.4 s) within which underruns are one: of a machine that was busy once, or of a queue that
is too thin."""
RAISE = 48
"""Samples (3 ms) by which a margin is longer than the lateness that it covers; and that are added
where a queue runs dry though nothing was late by as much."""
FEW, LATELY_HOPS = 2, 37_500
"""Underruns that may come within so many hops (5 min): one more shows a margin that is too thin. A
machine that is late less often than that is heard seldom, and by how much it will be the next time
nobody knows: more latency would be paid all the time."""
LOWER_HOPS = 37_500
"""Hops (5 min) without underrun after which half of what underruns added is taken away again, if it
was of no use: each trial of a thinner margin may be heard. Nothing heard is as calm as that."""
OWN_HOPS = 25
"""Hops (0.2 s) of which an underrun may be told late: their lateness is its own."""


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
        self._calm_from = 0
        self._used = 0
        self._recent: deque[int] = deque(maxlen=OWN_HOPS)
        """Lateness of the last hops, which may turn out to be an underrun's."""
        self._own = 0
        """Lateness of the last underrun."""
        self._dry_at: int | None = None
        self._asked: deque[tuple[int, int]] = deque()
        """When the underruns of late came, and the margins that would have covered them."""

    def underrun(self) -> None:
        """The queue ran dry. What runs dry within :data:`AGAIN_HOPS` of that is part of it."""
        if self._dry_at is None:
            self._dry_at = self._now
            self._own = max(0, max(self._recent, default=0))
            self._recent.clear()

    def hop(self, late: int, hops: int = 1) -> None:
        """A hop, or several at once, has come ``late`` samples later than usual."""
        self._now += hops
        if self._dry_at is not None:
            self._own = max(self._own, late)
            if self._now - self._dry_at > AGAIN_HOPS:
                self._decide(self._dry_at)
                self._dry_at = None
            return
        for _ in range(hops):
            if len(self._recent) == OWN_HOPS:
                self._used = max(self._used, self._recent[0])
            self._recent.append(late)
        if self._now - self._calm_from >= LOWER_HOPS:
            self._lower()

    def _decide(self, dry_at: int) -> None:
        """Raise the margin for the last underrun, all of which has been seen, or leave it."""
        while self._asked and dry_at - self._asked[0][0] > LATELY_HOPS:
            self._asked.popleft()
        wanted, most = self._own + RAISE, self._least + self._more
        self._asked.append((dry_at, wanted))
        if wanted <= most:
            # (For one that no margin would have covered the calm goes on.)
            self._used = 0
            self._calm_from = self._now
        if len(self._asked) <= FEW:
            return
        but_the_worst = sorted(samples for _, samples in self._asked)[:-1]
        covering = max((samples for samples in but_the_worst if samples <= most), default=0)
        if covering:
            # Where it had not been late by as much, the server has its own reasons.
            raised = covering if covering > self.samples else self.samples + RAISE
            self.samples = min(most, raised)

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
