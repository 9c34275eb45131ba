"""Watches the queue's level: how empty it gets, where the clocks have it, and whether to move it.

How empty a queue gets is what latency is for; but it depends on how late hops are, which changes
from minute to minute, and whoever holds it there hands that on as latency. Sound comes late, but
never early, so the soonest of the last seconds tells where the level would be without lateness: so
held, latency stays. Lateness decides once by how much that is above the margin, and then only
where it asks for more, or for much less for long.
"""

from __future__ import annotations

import sys
from collections import deque
from statistics import median

BLOCK_HOPS = 25
"""Hops (0.2 s) of which the least level is kept."""
LONG_BLOCKS = 300
"""Blocks (1 min) whose lateness decides how much of the queue is for it."""
WINDOW_BLOCKS = 50
"""Blocks (10 s) after which a queue is moved by as little as :data:`NEAR`."""
SOON_BLOCKS = 20
"""Blocks (4 s) after which it is moved by as little as :data:`SLACK`."""
FEW, LONG_FEW = 2, 12
"""Blocks of a window or less, and of a minute, that may be later than the rest: a machine that is
late once is soon back, and a queue made longer for that would be made shorter again afterwards."""
CUT_BLOCKS = 3
"""Blocks (0.6 s) over which a great excess must last to be cut out, or a queue that is thin to be
made longer."""
THIN = 48
"""Samples (3 ms) too few at which a queue is too thin to wait at all."""
SLACK = 48
"""Samples (3 ms) that are left alone at first: the level moves by as much between a network that is
quick and one that is not."""
NEAR = 8
"""Samples (0.5 ms) that are always left alone."""
KNOWN_BLOCKS = 5
"""Blocks (1 s) after which it is known how empty the queue usually gets."""
SOONEST_BLOCKS = 6
"""Blocks (1.2 s), it and those after it, whose soonest arrival is a block's: by when a microphone
loses sound, it so counts as lost and not as late."""
SPARE_BLOCKS = 1500
"""Blocks (5 min) after which what lateness never used is given back."""
UNSEEN = sys.maxsize
"""More than any age: those are by a clock that has gone for as long as the machine is up."""


class QueueLevel:
    """Keeps what was seen of the queue, block by block, and tells by how much it is off.

    Every sample taken out lowers the level by one, so ``corrected``, the sum of them, is counted
    in: what was seen before still holds.
    """

    def __init__(self) -> None:
        self._reserve: int | None = None
        """Samples above the margin at which the queue is held, for lateness, once that is known."""
        self.reset()

    def reset(self) -> None:
        """Start anew, as after opening the streams, with what lateness needed before: the first
        minute decides again."""
        self._used: deque[int] = deque(maxlen=LONG_BLOCKS)
        self._learnt = 0 if self._reserve is None else WINDOW_BLOCKS
        """Blocks by which the reserve was decided."""
        self._most_used = self._looks = 0
        self.forget()

    def forget(self) -> None:
        """Where the queue was seen no longer holds; how late hops are does."""
        self._lowest: deque[int] = deque(maxlen=WINDOW_BLOCKS)
        self._soonest: deque[int] = deque(maxlen=SOONEST_BLOCKS)
        self._paths: deque[tuple[int, int]] = deque(maxlen=SOONEST_BLOCKS)
        self._even: deque[int] = deque(maxlen=WINDOW_BLOCKS)
        self._least = self._least_path = self._least_age = UNSEEN
        self._seen = 0
        self.usual = -UNSEEN
        """How empty the queue usually gets, the corrections counted in."""

    def arrived(self, age: int) -> None:
        """Sound arrived whose newest sample has this age (see :meth:`watch`)."""
        self._least_age = min(self._least_age, age)

    def watch(self, level: int, corrected: int, age: int = 0, hops: int = 1) -> bool:
        """Note the level before a hop, or before several that are written at once.

        Parameters
        ----------
        age : samples since the hop's newest was recorded, by the clock, give or take what is the
            same for all; where that is not known, none is late
        hops : how many there are; the age is the first one's

        Returns
        -------
        bool
            Whether this was the last of a block: then look at it.
        """
        self._least = min(self._least, level + corrected)
        self._least_path = min(self._least_path, level + corrected + age)
        self._least_age = min(self._least_age, age)
        self._seen += hops
        if self._seen < BLOCK_HOPS:
            return False
        self._seen -= BLOCK_HOPS
        self._lowest.append(self._least)
        if len(self._lowest) >= KNOWN_BLOCKS:
            self.usual = sorted(self._lowest)[len(self._lowest) // 2]
        self._by_the_clocks()
        self._least = self._least_path = self._least_age = UNSEEN
        return True

    def _by_the_clocks(self) -> None:
        """Where the level of a second ago was without lateness, and how much of it that took.

        Level and age together tell when a hop will be played after it was recorded, however late
        it is written; the age of what came soonest is what that would be with an empty queue.
        """
        self._paths.append((self._least_path, self._least))
        self._soonest.append(self._least_age)
        if len(self._soonest) == SOONEST_BLOCKS:
            path, least = self._paths[0]
            even = path - min(self._soonest)
            self._even.append(even)
            self._used.append(even - least)

    def lasting(self, margin: int, corrected: int) -> int:
        """Samples above where the queue is held that were there throughout the last blocks.

        Until it is known what lateness needs, above the margin; and where the clocks have not told
        yet, as if nothing were late.
        """
        told = len(self._even) >= CUT_BLOCKS and self._reserve is not None
        last = list(self._even if told else self._lowest)[-CUT_BLOCKS:]
        return min(last) - self._held(margin, corrected) if len(last) == CUT_BLOCKS else 0

    def astray(self, margin: int, corrected: int) -> int:
        """Samples that the queue is off, and has been for long enough to be moved, or 0."""
        self._learn(margin)
        if self._reserve is None:
            return 0
        held = self._held(margin, corrected)
        return _off([even - held for even in self._even])

    def _held(self, margin: int, corrected: int) -> int:
        """The level without lateness at which the queue is held, the corrections counted in."""
        return margin + corrected + (self._reserve or 0)

    def _learn(self, margin: int) -> None:
        """What lateness needs: as much as it used of the first seconds, then of the first minute;
        more where it lasts, less after five minutes. But for a few blocks, as always."""
        seen = len(self._used)
        for blocks, few in ((SOON_BLOCKS, FEW), (WINDOW_BLOCKS, FEW), (LONG_BLOCKS, LONG_FEW)):
            if self._learnt < blocks <= seen:
                self._reserve, self._learnt = sorted(self._used)[-1 - few], blocks
        if self._reserve is None or seen <= LONG_FEW:
            return
        # (One late second does not last: what it breaks is broken, and it would be paid for long.)
        used = sorted(self._used)[-1 - LONG_FEW]
        self._most_used = max(self._most_used, used)
        self._looks += 1
        if used > self._reserve + max(THIN, margin // 2):
            self._reserve = used
        elif self._looks < SPARE_BLOCKS:
            return
        elif self._most_used < self._reserve - SLACK:
            self._reserve = self._most_used
        self._most_used = self._looks = 0


def _off(excess: list[int]) -> int:
    """Samples that a queue is off where it shall be, or 0.

    Parameters
    ----------
    excess : levels of the last blocks above that, without lateness
    """
    last = excess[-CUT_BLOCKS:]
    if len(last) == CUT_BLOCKS and max(last) < -THIN:
        return max(last)
    for blocks, slack in ((SOON_BLOCKS, SLACK), (WINDOW_BLOCKS, NEAR)):
        if len(excess) >= blocks:
            # Where the clocks differ it was elsewhere then: by how much is it off still?
            off = max(min(0, *last), min(max(0, *last), int(median(excess[-blocks:]))))
            if abs(off) > slack:
                return off
    return 0
