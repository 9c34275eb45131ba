"""The reference, one hop for every hop of the microphone, however the two clocks run.

Both streams come from one server but not in step: they start one after the other, arrive in
bursts, and the loudspeaker's clock may differ from the microphone's by hundreds of ppm. What
must hold is that the same sample of the reference stays beside the same sample of the microphone.
"""

from __future__ import annotations

import logging

import numpy as np

from pipedtln.processor import HOP, SAMPLE_RATE, Block
from pipedtln.stream.losses import LossWatch
from pipedtln.stream.resample import DriftResampler
from pipedtln.stream.ring import Ring

LOG = logging.getLogger(__name__)

SETTLE_HOPS = 64
"""Hops (0.5 s) after which the streams' start-up skew is over and the backlog is set right.

Also the time over which the least backlog is looked for, which the server's bursts do not move.
"""
GONE_SAMPLES = SAMPLE_RATE // 10
"""Silence this long (0.1 s) in place of missing samples means that the reference has stopped."""
DEAD_BAND = 24
"""Samples that the least backlog may stray (1.5 ms) before its drift is taken for one."""
MAX_PPM = 1000.0
MAX_ERROR = 256
"""Samples; more is a stall, not a drift."""
STALL_HOPS = 8
"""Late hops in half a second that may be one stall, which says nothing of the backlog."""
MOST_FILLED = 512
"""Samples of silence that may take the place of lost ones, besides those that already have."""
UNSEEN = 1 << 30


class ReferenceFeed:
    """Reads a ring hop by hop, padding what is late and taking drift out.

    The least backlog (samples that remain when a microphone hop has got its own) is held at
    ``target`` by reading at most 1000 ppm faster or slower. Late samples are replaced by silence,
    and dropped when they come, so that what follows keeps its place. Where only one of the streams
    loses some on the way here, as many are left out of the other, or silence put in, within a
    second.

    Parameters
    ----------
    target : backlog to hold, in samples
    bound : least backlog above which the excess is dropped at once, in samples
    """

    def __init__(self, target: int = 192, bound: int = 1280) -> None:
        self.target = target
        self.bound = bound
        self._resampler = DriftResampler(capacity=8 * HOP)
        self._scratch = np.zeros(8 * HOP, dtype=np.float32)
        self._silence = np.zeros(MOST_FILLED, dtype=np.float32)
        self._losses: LossWatch | None = None
        self.dropped = 0
        self.padded = 0
        self.reset()

    def reset(self, losses: LossWatch | None = None) -> None:
        """Start anew, as after opening the streams.

        Parameters
        ----------
        losses : of the streams; without it only drift is taken out
        """
        self._losses = losses
        self._debt = 0
        self._primed = False
        self._level = float(self.target)
        self._watch_afresh()
        self._offset_ppm = 0.0
        self._ppm = 0.0
        self._resampler.reset()

    @property
    def drift_ppm(self) -> float:
        """How much faster the reference runs than the microphone, as held now."""
        return self._ppm

    @property
    def backlog_ms(self) -> float:
        """Least backlog of the last second in milliseconds."""
        return self._level * 1000 / SAMPLE_RATE

    def skip(self, ring: Ring, count: int) -> None:
        """Leave out ``count`` samples with the microphone's, those that are still to come too."""
        self._debt += count - ring.skip(count)
        self._primed = self._primed and self._debt <= GONE_SAMPLES
        self._forget_losses()

    def read(self, ring: Ring, out: Block, ahead: int = 0) -> bool:
        """Fill ``out`` with the hops that belong to the microphone's present ones.

        Parameters
        ----------
        out : float32, shape (hops * 128,), up to :data:`MOST_BATCH` hops
        ahead : samples of the microphone that wait for later hops; theirs is no backlog

        Returns
        -------
        bool
            False if (part of) them had to be replaced by silence.
        """
        if not self._primed and not self._prime(ring, out, ahead):
            return False
        if self._debt:
            paid = ring.skip(self._debt)
            self._debt -= paid
            self.dropped += paid
        there = ring.readable
        speed = 1.0 + self._ppm * 1e-6
        needed = self._resampler.needed(len(out), speed)
        whole = needed <= there
        if whole:
            ring.read(self._scratch[:needed])
            self._resampler.push(self._scratch[:needed])
        else:
            self._pad(ring, needed)
        self._resampler.pull(out, speed)
        late = -(-max(0, needed - there) // HOP)
        self._watch(ring, there - ahead - needed, len(out) // HOP, late)
        return whole

    def _prime(self, ring: Ring, out: Block, ahead: int) -> bool:
        """Wait in silence until the backlog is there that evens out the arrivals' jitter."""
        waiting = ring.readable - ahead
        if waiting < self.target + len(out):
            out[:] = 0
            self.padded += len(out)
            return False
        self.dropped += ring.skip(waiting - self.target - len(out))
        self._debt = 0
        self._level = float(self.target)
        self._resampler.reset()
        self._watch_afresh()
        self._primed = True
        return True

    def _pad(self, ring: Ring, needed: int) -> None:
        scratch = self._scratch[:needed]
        got = ring.read(scratch)
        scratch[got:] = 0
        self._resampler.push(scratch)
        self._debt += needed - got
        self.padded += needed - got
        if self._debt > GONE_SAMPLES:
            self._primed = False

    def _watch_afresh(self) -> None:
        self._hops = 0
        self._settled = False
        self._see_afresh()
        self._forget_losses()

    def _see_afresh(self) -> None:
        self._late_hops = 0
        self._least = self._least_late = self._least_before = UNSEEN

    def _forget_losses(self) -> None:
        if self._losses is not None:
            self._losses.forget()

    def _watch(self, ring: Ring, left: int, hops: int, late: int) -> None:
        """Look for the least backlog; set it right once, then steer it."""
        if not late:
            self._least = min(self._least, left)
        else:
            self._least_late = min(self._least_late, left)
            self._late_hops += late
        self._hops += hops
        if self._hops < SETTLE_HOPS:
            return
        self._hops -= SETTLE_HOPS
        first, self._settled = not self._settled, True
        lost = self._losses.look() if self._losses is not None else 0
        if lost:
            self._make_up(ring, lost)
            self._see_afresh()
            return
        if self._late_hops > STALL_HOPS:
            self._least = self._least_late
        self._late_hops, self._least_late = 0, UNSEEN
        level = min(self._least, self._least_before)
        self._least, self._least_before = UNSEEN, self._least
        self._level = float(level)
        if first or level > self.bound:
            self._settle(ring, level - self.target)
            self._least_before = UNSEEN
        else:
            self._steer(max(-MAX_ERROR, min(MAX_ERROR, level - self.target)))

    def _make_up(self, ring: Ring, lost: int) -> None:
        """Leave out what the microphone lost, or fill in what the reference did (``lost`` < 0)."""
        LOG.debug(
            "%s lost %.1f ms alone", "mic" if lost > 0 else "ref", abs(lost) * 1000 / SAMPLE_RATE
        )
        if lost > 0:
            there = ring.skip(lost)
            self.dropped += there
            self._debt += lost - there
            return
        # What was padded for lost samples stays: they will never come.
        filled = min(self._debt, -lost)
        self._debt -= filled
        silence = self._silence[: -lost - filled]
        self._resampler.push(silence)
        self.padded += len(silence)

    def _settle(self, ring: Ring, excess: int) -> None:
        if excess > 0:
            self.dropped += ring.skip(excess)
        else:
            lack = min(-excess, MAX_ERROR)
            self._resampler.push(self._silence[:lack])
            self.padded += lack
        self._level = float(self.target)

    def _steer(self, error: int) -> None:
        """Hold the least backlog: a slow integral learns the drift, a proportion corrects.

        1 ppm moves the backlog by 0.016 samples a second, so that 3 ppm a sample closes an error
        with a time constant of 21 s; the integral (0.036 ppm a sample and second) damps at 1. No
        faster, for fragments as long as a hop hide the backlog's true size for half a minute.
        """
        if abs(error) <= DEAD_BAND and self._ppm == 0.0:
            return
        self._offset_ppm = max(-MAX_PPM, min(MAX_PPM, self._offset_ppm + 0.018 * error))
        self._ppm = max(-MAX_PPM, min(MAX_PPM, self._offset_ppm + 3.0 * error))
