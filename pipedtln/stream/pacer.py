"""Keeps the output queue short for ever, without a click.

Each underrun, stall and clock difference leaves sound standing in the queue to the virtual
microphone. The pacer watches the least that stood there over the last seconds, but for the rare
moments in which the machine was late, since those pass by themselves: what is never used is latency
for nothing, and is taken out by playing 0.4 % faster; too thin a margin is thickened by playing
0.4 % slower. What a server holds back of the microphone until a fragment is full counts as well:
that may change with every loss, and latency with it. Only a gross excess, as after a stall, is cut
out, with a cross-fade; and a queue that runs dry again and again, as it may after the start, is
filled at once: its sound is broken already.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from pipedtln.processor import HOP, Block
from pipedtln.stream.margin import AGAIN_HOPS, Margin
from pipedtln.stream.resample import DriftResampler

BLOCK_HOPS = 25
"""Hops (0.2 s) of which the least level is kept."""
LONG_BLOCKS = 300
"""Blocks (1 min) after which the queue is brought back to the margin from as little as
:data:`NEAR`."""
WINDOW_BLOCKS = 50
"""Blocks (10 s) after which it is from :data:`SLACK`."""
SOON_BLOCKS = 20
"""Blocks (4 s) after which it is, where it is far from it."""
FEW, LONG_FEW = 2, 12
"""Blocks of a window, and of a minute, that may be emptier than the rest: a machine that is late
once is soon back, and a queue made longer for that would be made shorter again afterwards."""
LATE_HOPS = 4
"""Hops one after the other that came too late, after which the rest is put further back."""
GROSS_LATE = 4 * HOP
"""Samples (32 ms) of lateness that no hop to come can make up for."""
CUT_BLOCKS = 3
"""Blocks (0.6 s) over which a great excess must last to be cut out."""
CUT = 320
"""Samples (20 ms), or a period if that is more, of lasting excess that are cut rather than played
away."""
THIN = 48
"""Samples (3 ms) under the margin at which a queue is too thin to wait at all."""
EXCESS = 96
"""Samples (6 ms) above it that are far from it."""
FASTER = ((127, 256 / 255), (128, 256 / 255))
"""Outputs and speed of the two hops that take one sample out: 7 cents, which no voice betrays."""
SLOWER = ((128, 256 / 257), (129, 256 / 257))
"""The same for the two hops that put one sample in."""
SLACK = 48
"""Samples (3 ms) off the margin that are left alone at first: the level moves by as much between a
network that is quick and one that is not."""
NEAR = 8
"""Samples (0.5 ms) that are always left alone."""
MOST_AT_ONCE = 160
"""Samples (10 ms) that one correction may move, in 2.5 s; then the queue is looked at again."""
KNOWN_BLOCKS = 5
"""Blocks (1 s) after which it is known how empty the queue usually gets."""
UNSEEN = 1 << 30


class OutputPacer:
    """Adapts the number of samples of each output hop to the level of the queue.

    Parameters
    ----------
    more : samples that underruns may add to the margin
    gross : excess over the margin that is cut out at once, in samples
    """

    def __init__(self, more: int = 400, gross: int = 1280) -> None:
        self._margin = Margin(more)
        self._gross = gross
        self._resampler = DriftResampler(capacity=4 * HOP)
        self._out = np.zeros(2 * HOP, dtype=np.float32)
        self._rise = np.linspace(1 / HOP, 1, HOP, dtype=np.float32)
        self._before_cut = np.zeros(HOP, dtype=np.float32)
        self._lowest: deque[int] = deque(maxlen=LONG_BLOCKS)
        self._blend = np.zeros(HOP, dtype=np.float32)
        self.dropped = 0
        """Samples cut out."""
        self.corrected = 0
        """Samples taken out (positive) or put in (negative) inaudibly."""
        self.started = False
        """Whether a hop has been paced since the last :meth:`reset`."""
        self.reset()

    delay_samples = DriftResampler.delay_samples

    def reset(self, period: int = HOP, idle_hops: int = 0) -> None:
        """Start anew, as after opening the streams, but for what the margin has learnt.

        Parameters
        ----------
        period : samples that arrive at a time
        idle_hops : hops since the last one that was paced
        """
        self._period = period
        self._most_excess = max(CUT, period)
        self._margin.reset(period, idle_hops)
        self._forget()
        self._owed = 0
        self._second = False
        self._cut = 0
        self._lasting = 0
        self._most_held_back = 0
        self._fade_in = False
        self.started = False
        self._late = 0
        self._since_late = 0
        self._resampler.reset()

    def _forget(self) -> None:
        """Look at the queue afresh: what was seen no longer holds."""
        self._lowest.clear()
        self._block_least = UNSEEN
        self._usual = -UNSEEN
        self._seen = 0

    @property
    def margin(self) -> int:
        """Samples that shall remain in the queue at the emptiest."""
        return self._margin.samples

    def underrun(self) -> None:
        """The queue ran dry: ask for a greater margin, unless that happens seldom."""
        self._margin.underrun()

    def gap(self, queued: int, ahead: int = 0) -> int:
        """Silence to put before the next hop: at the start, and where sound goes lost.

        Parameters
        ----------
        queued : samples in the queue; negative where the device went on without them
        ahead : samples that will follow the next hop at once
        """
        level = queued + ahead
        self._since_late += 1
        thin = False
        if queued < 0:
            thin = 1 < self._since_late <= AGAIN_HOPS
            self._since_late = 0
        if level >= 0:
            self._late = 0
        elif ahead < HOP:
            self._late += 1
        lost = self._late >= LATE_HOPS or level < -GROSS_LATE
        if self.started and not thin and not lost:
            return 0
        self.started = True
        self._late = self._since_late = 0
        self._owed = 0
        self._second = False
        self._forget()
        return max(0, self.margin + self._period - level)

    def surplus(self, queued: int, waiting: int) -> int:
        """Samples, whole hops, that would make a queue too long at the start; never the last hop.

        Parameters
        ----------
        queued : samples in the queue before the first hop
        waiting : samples of the microphone that have come already
        """
        others = waiting - HOP
        excess = queued + others - self.margin - self._period
        # As many more as fit into no whole hop are put back in silence: see :meth:`gap`.
        return max(0, min(-(-excess // HOP), others // HOP)) * HOP

    def pace(self, hop: Block, queued: int, ahead: int = 0, held_back: int = 0) -> Block | None:
        """Adapt one hop.

        Parameters
        ----------
        hop : float32, shape (128,); the processed sound
        queued : samples in the queue just before this hop is written
        ahead : samples that will follow it at once
        held_back : samples of the microphone that the server holds back at the least: where it
            were more, as it has been, the queue would be as much shorter now

        Returns
        -------
        float32 array of 127 to 129 samples, valid until the next call, or None: drop this hop.
        """
        self._most_held_back = max(self._most_held_back, held_back)
        level = queued - (self._most_held_back - held_back)
        self._margin.hop(self._usual - level - self.corrected)
        # The level swings by a period: what is always there is less.
        excess = level - self.margin - (self._period - HOP)
        too_much = excess if excess > self._gross else self._lasting
        if self._cut == 0 and too_much > self._most_excess:
            # A number of hops, not a level to reach: a device that pauses would never reach it.
            self._cut = (too_much - SLACK) // HOP
            self._owed = 0
            self._second = False
            # This hop is what would follow: the cross-fade over the cut starts from it.
            self._before_cut[:] = hop
            self._lasting = 0
            self._forget()
        if self._cut:
            self._cut -= 1
            self.dropped += len(hop)
            self._fade_in = True
            return None
        if self._fade_in:
            hop = self._cross_fade(hop)
        if queued >= 0 or ahead < HOP:
            # (Otherwise a stall is being worked off, and the queue is not what it will be.)
            self._watch(level)
        self._resampler.push(hop)
        count, speed = len(hop), 1.0
        if self._owed:
            count, speed = (FASTER if self._owed > 0 else SLOWER)[self._second]
            if self._second:
                change = 1 if self._owed > 0 else -1
                self._owed -= change
                self.corrected += change
            self._second = not self._second
        out = self._out[:count]
        self._resampler.pull(out, speed)
        return out

    def _watch(self, level: int) -> None:
        """Note the level; look at it once per block."""
        # Every sample taken out lowers the level by one: counted in, what was seen still holds.
        self._block_least = min(self._block_least, level + self.corrected)
        self._seen += 1
        if self._seen % BLOCK_HOPS:
            return
        self._lowest.append(self._block_least)
        self._block_least = UNSEEN
        wanted = self.margin + self.corrected
        excess = [least - wanted for least in self._lowest]
        if len(excess) >= KNOWN_BLOCKS:
            recent = sorted(excess[-WINDOW_BLOCKS:])
            self._usual = recent[len(recent) // 2] + wanted
        self._lasting = min(excess[-CUT_BLOCKS:]) if len(excess) >= CUT_BLOCKS else 0
        if self._owed or self._lasting > self._most_excess:
            return
        self._owed = max(-MOST_AT_ONCE, min(MOST_AT_ONCE, _astray(excess)))

    def _cross_fade(self, hop: Block) -> Block:
        self._fade_in = False
        np.subtract(hop, self._before_cut, out=self._blend)
        self._blend *= self._rise
        self._blend += self._before_cut
        return self._blend


def _astray(excess: list[int]) -> int:
    """Samples that a queue is off its margin and has been for long enough to be moved, or 0.

    Parameters
    ----------
    excess : least levels of the last blocks above the margin
    """
    soon = excess[-SOON_BLOCKS:]
    if len(soon) > FEW:
        off = sorted(soon)[FEW]
        if off < -THIN or (len(soon) == SOON_BLOCKS and off > EXCESS):
            return off
    # Where the device's clock is the slower one it always was shorter: by how much is it still?
    short = min(0, *soon)
    for blocks, few, slack in ((WINDOW_BLOCKS, FEW, SLACK), (LONG_BLOCKS, LONG_FEW, NEAR)):
        if len(excess) >= blocks:
            off = max(short, sorted(excess[-blocks:])[few])
            if abs(off) > slack:
                return off
    return 0
