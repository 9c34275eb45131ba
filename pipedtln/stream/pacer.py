"""Keeps the output queue short for ever, without a click.

Each underrun, stall and clock difference leaves sound standing in the queue to the virtual
microphone. The pacer has the queue watched (:mod:`pipedtln.stream.level`): what is more than
lateness needs is latency for nothing, and is taken out by playing 0.4 % faster; too little is
thickened by playing 0.4 % slower. What a server holds back of the microphone until a fragment is
full counts as well: that may change with every loss, and latency with it. Only a gross excess, as
after a stall, is cut out, with a cross-fade; and a queue that runs dry again and again, or once
right after the start, is filled at once: its sound is broken already.
"""

from __future__ import annotations

import numpy as np

from pipedtln.processor import HOP, MOST_BATCH, Block
from pipedtln.stream.level import SLACK, QueueLevel
from pipedtln.stream.margin import AGAIN_HOPS, Margin
from pipedtln.stream.resample import DriftResampler

LATE_HOPS = 4
"""Hops one after the other that came too late, after which the rest is put further back."""
THIN_AGAIN = 2
"""Times that a queue runs dry again, each within :data:`AGAIN_HOPS`, after which it is filled at
once. Once again may be the same busy moment, and the silence would be longer than what it lacked.
"""
GROSS_LATE = 4 * HOP
"""Samples (32 ms) of lateness that no hop to come can make up for."""
CUT = 320
"""Samples (20 ms), or a period if that is more, of lasting excess that are cut rather than played
away."""
FASTER = ((127, 256 / 255), (128, 256 / 255))
"""Outputs and speed of the two hops that take one sample out: 7 cents, which no voice betrays."""
SLOWER = ((128, 256 / 257), (129, 256 / 257))
"""The same for the two hops that put one sample in."""
MOST_AT_ONCE = 160
"""Samples (10 ms) that one correction may move, in 2.5 s; then the queue is looked at again."""


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
        self._resampler = DriftResampler(capacity=(MOST_BATCH + 2) * HOP)
        self._out = np.zeros((MOST_BATCH + 1) * HOP, dtype=np.float32)
        self._joined = np.zeros_like(self._out)
        self._rise = np.linspace(1 / HOP, 1, HOP, dtype=np.float32)
        self._before_cut = np.zeros(HOP, dtype=np.float32)
        self._period = HOP
        self._level = QueueLevel()
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
        """Start anew, as after opening the streams, but for what has been learnt of lateness.

        Parameters
        ----------
        period : samples that arrive at a time
        idle_hops : hops since the last one that was paced
        """
        self._most_excess = max(CUT, period)
        self._margin.reset(period, idle_hops)
        if period == self._period:
            self._level.reset()
        else:
            self._level = QueueLevel()
        self._period = period
        self._owed = 0
        self._second = False
        self._cut = 0
        self._lasting = 0
        self._most_held_back = 0
        self._fade_in = False
        self.started = False
        self._late = 0
        self._since_dry = self._dry_again = 0
        self._resampler.reset()

    @property
    def margin(self) -> int:
        """Samples that shall remain in the queue at the emptiest."""
        return self._margin.samples

    def underrun(self) -> None:
        """The queue ran dry: ask for a greater margin, unless that happens seldom."""
        self._margin.underrun()

    def gap(self, queued: int, ahead: int = 0, hops: int = 1) -> int:
        """Silence to put before the next hops: at the start, and where sound goes lost.

        Parameters
        ----------
        queued : samples in the queue; negative where the device went on without them
        ahead : samples that will follow the next hops at once
        hops : how many are written now
        """
        level = queued + ahead + (hops - 1) * HOP
        self._since_dry += hops
        thin = False
        if queued < 0:
            if self._since_dry > AGAIN_HOPS:
                self._dry_again = 0
            elif self._since_dry > hops:
                self._dry_again += 1
            thin = self._dry_again >= THIN_AGAIN
            self._since_dry = 0
        if level >= 0:
            self._late = 0
        elif ahead < HOP:
            self._late += 1
        lost = self._late >= LATE_HOPS or level < -GROSS_LATE
        if self.started and not thin and not lost:
            return 0
        self.started = True
        self._late = self._since_dry = 0
        # Nothing is known of it yet: the first time is enough.
        self._dry_again = THIN_AGAIN - 1
        self._owed = 0
        self._second = False
        self._level.forget()
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

    def arrived(self, age: int) -> None:
        """Sound of the microphone has come whose newest sample has this age (see :meth:`pace`)."""
        self._level.arrived(age)

    def pace(
        self,
        sound: Block,
        queued: int,
        ahead: int = 0,
        held_back: int = 0,
        age: int = 0,
    ) -> Block | None:
        """Adapt one hop, or several that are written at once.

        Parameters
        ----------
        sound : float32, shape (hops * 128,); what was processed
        queued : samples in the queue just before it is written
        ahead : samples that will follow it at once
        held_back : samples of the microphone that the server holds back at the least: where it
            were more, as it has been, the queue would be as much shorter now
        age : samples since the newest of these was recorded, by the clock, give or take what is
            the same for all hops and for :meth:`arrived`; where nobody knows, none is late

        Returns
        -------
        float32 array of 127 to 129 samples for each hop that is not dropped, valid until the next
        call, or None: drop all.
        """
        self._most_held_back = max(self._most_held_back, held_back)
        level = queued - (self._most_held_back - held_back)
        behind = len(sound) - HOP
        if not behind:
            return self._pace_hop(sound, queued, level, ahead, age)
        busy = self._owed or self._cut or self._fade_in
        if busy or queued < 0 or self._too_much(level) > self._most_excess:
            return self._pace_each(sound, queued, level, ahead, age)
        # Nothing to do but to look: before the first of them the queue is emptiest.
        hops = len(sound) // HOP
        self._margin.hop(self._level.usual - level - self.corrected, hops)
        self._watch(level, age + behind, hops)
        self._resampler.push(sound)
        out = self._out[: len(sound)]
        self._resampler.pull(out)
        return out

    def _pace_each(
        self, sound: Block, queued: int, level: int, ahead: int, age: int
    ) -> Block | None:
        """Adapt hops one by one and join what comes of them."""
        filled = 0
        for at in range(0, len(sound), HOP):
            left = len(sound) - HOP - at
            hop = sound[at : at + HOP]
            paced = self._pace_hop(hop, queued + filled, level + filled, ahead + left, age + left)
            if paced is not None:
                self._joined[filled : filled + len(paced)] = paced
                filled += len(paced)
        return self._joined[:filled] if filled else None

    def _too_much(self, level: int) -> int:
        """Samples by which the queue is too long: grossly now, or throughout the last blocks."""
        # The level swings by a period: what is always there is less.
        excess = level - self.margin - (self._period - HOP)
        return excess if excess > self._gross else self._lasting

    def _pace_hop(self, hop: Block, queued: int, level: int, ahead: int, age: int) -> Block | None:
        self._margin.hop(self._level.usual - level - self.corrected)
        too_much = self._too_much(level)
        if self._cut == 0 and too_much > self._most_excess:
            # A number of hops, not a level to reach: a device that pauses would never reach it.
            self._cut = (too_much - SLACK) // HOP
            self._owed = 0
            self._second = False
            # This hop is what would follow: the cross-fade over the cut starts from it.
            self._before_cut[:] = hop
            self._lasting = 0
            self._level.forget()
        if self._cut:
            self._cut -= 1
            self.dropped += len(hop)
            self._fade_in = True
            return None
        if self._fade_in:
            hop = self._cross_fade(hop)
        if queued >= 0 or ahead < HOP:
            # (Otherwise a stall is being worked off, and the queue is not what it will be.)
            self._watch(level, age)
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

    def _watch(self, level: int, age: int, hops: int = 1) -> None:
        """Note the level; look at it once per block."""
        if not self._level.watch(level, self.corrected, age, hops):
            return
        self._lasting = self._level.lasting(self.margin, self.corrected)
        if self._owed or self._lasting > self._most_excess:
            return
        off = self._level.astray(self.margin, self.corrected)
        self._owed = max(-MOST_AT_ONCE, min(MOST_AT_ONCE, off))

    def _cross_fade(self, hop: Block) -> Block:
        self._fade_in = False
        np.subtract(hop, self._before_cut, out=self._blend)
        self._blend *= self._rise
        self._blend += self._before_cut
        return self._blend
