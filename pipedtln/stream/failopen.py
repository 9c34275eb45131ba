"""Runs a processor and lets the microphone through whenever it cannot.

The microphone is kept beside the processor, delayed by the same number of samples, so that going
from one to the other moves nothing in time and a fade over one hop hides the change. On the way
back the processor first runs unheard until its whole delay is filled with what is said now.
"""

from __future__ import annotations

import logging
import math
from time import perf_counter

import numpy as np

from pipedtln.processor import HOP, MOST_BATCH, Block, Processor, process_hops

LOG = logging.getLogger(__name__)

RETRY_HOPS = 125
"""Hops (1 s) that pass unprocessed after an error before the processor is tried again."""
QUIET_HOPS = 1250
"""Hops (10 s) after a failure in which the next one is not told again."""
LOAD_HOPS = 1024
"""Hops over which the load is told (8 s)."""
RECENT_HOPS = 8
"""Hops (64 ms) whose median shows how quick the processor is now, whatever held up one of them."""


class _DelayLine:
    """The microphone, some samples later."""

    def __init__(self, delay: int) -> None:
        self.delay = delay
        self.warm_hops = delay // HOP + 1
        """Hops after which a processor of this delay tells of what is said now."""
        self._history = np.zeros(delay + MOST_BATCH * HOP, dtype=np.float32)
        self._given = self._history[: MOST_BATCH * HOP]

    @property
    def newest(self) -> float:
        """The sample due last."""
        return float(self._given[-1])

    def push(self, mic: Block) -> None:
        """Take one hop or several; as much is due now."""
        history, count = self._history, len(mic)
        history[:-count] = history[count:]
        history[-count:] = mic

    def give(self, out: Block) -> None:
        """The newest of what is due."""
        np.copyto(out, self._given[-len(out) :])

    def continue_from(self, other: _DelayLine) -> None:
        """Take over what another one has heard, as far as it reaches."""
        count = min(len(self._history), len(other._history))
        self._history[len(self._history) - count :] = other._history[len(other._history) - count :]

    def reset(self) -> None:
        """Forget all sound."""
        self._history.fill(0.0)


class FailOpen:
    """A processor that never fails and whose effect can be dosed.

    Parameters
    ----------
    processor : what to run; None (no model) lets the microphone through
    latency_samples : delay of the microphone until there is a processor, which then decides
    """

    def __init__(self, processor: Processor | None, latency_samples: int = 384) -> None:
        self._line = self._wanted_line = _DelayLine(latency_samples)
        self._dry = np.zeros(HOP, dtype=np.float32)
        self._rise = np.linspace(1 / HOP, 1, HOP, dtype=np.float32)
        self._gains = np.zeros(HOP, dtype=np.float32)
        self._loads = np.zeros(LOAD_HOPS, dtype=np.float32)
        self._wet_gain = self._dry_gain = 0.0
        self._last_out = 0.0
        self._quiet_until = 0
        self._told = False
        self._was_late = False
        self._by_wish = False
        self.ran = False
        """Whether the processor saw the last hop."""
        self.strength = 100
        """How much of what the processor removes stays out, 0-100 %."""
        self.bypass = False
        self.muted = False
        self.hops = 0
        self.bypassed_hops = 0
        """Hops let through unprocessed because something failed, not by the user's wish."""
        self.problem: str | None = None
        """Why the microphone goes through unprocessed right now, or None."""
        self.use(processor)
        self._take_line()
        self._warm = self._line.warm_hops

    def use(self, processor: Processor | None, problem: str | None = None) -> None:
        """Run another processor from the next hop on; ``problem`` says why there is none.

        Where its delay differs from the present one, the microphone follows, once and without a
        click.

        Raises
        ------
        ValueError
            If it takes other hops.
        """
        if processor and processor.hop != HOP:
            raise ValueError(f"{type(processor).__name__} takes hops of {processor.hop} samples")
        if processor and processor.latency_samples != self._wanted_line.delay:
            self._wanted_line = _DelayLine(processor.latency_samples)
        self._warm = 0
        self._retry_at = 0
        self.problem = problem
        self._processor = processor

    @property
    def processor(self) -> Processor | None:
        """What runs now."""
        return self._processor

    @property
    def latency_samples(self) -> int:
        """Samples by which ``out`` lies behind ``mic``, whatever runs."""
        return self._line.delay

    def reset(self) -> None:
        """Forget all sound."""
        self._line = self._wanted_line
        self._line.reset()
        self._wet_gain = self._dry_gain = 0.0
        self._last_out = 0.0
        self._warm = self._line.warm_hops
        if self._processor:
            self._processor.reset()

    def load(self) -> tuple[float, float] | None:
        """Mean and 99th percentile of the share of a hop that the processor took lately."""
        seen = self._loads[: min(self.hops, LOAD_HOPS)]
        busy = seen[seen > 0]
        if not len(busy):
            return None
        return float(busy.mean()), float(np.percentile(busy, 99))

    def catches_up(self, hops: int) -> bool:
        """Whether so many hops would be processed within the time of one, as quick as it is now."""
        recent = self._loads.take(range(self.hops - RECENT_HOPS, self.hops), mode="wrap")
        busy = recent[recent > 0]
        return len(busy) > 0 and hops * float(np.median(busy)) < 1

    def process(self, mic: Block, ref: Block, out: Block, *, late: bool = False) -> None:
        """Process one hop; never raises.

        Parameters
        ----------
        mic, ref, out : float32, shape (128,); ``out`` must not be ``mic``
        late : the hop is overdue; let it through to catch up
        """
        self.ran = self._run(mic, ref, out, late)
        self._pass_on(mic, out)

    def process_batch(self, mic: Block, ref: Block, out: Block) -> None:
        """Process several hops, at once if the processor takes so many; never raises.

        Parameters
        ----------
        mic, ref, out : float32, shape (hops * 128,), one hop behind the other; ``out`` must not be
            ``mic``
        """
        self.ran = self._run(mic, ref, out, late=False)
        if self._undisturbed:
            hops = len(mic) // HOP
            self._line.push(mic)
            self._last_out = float(out[-1])
            self._warm += hops
            self.hops += hops
            return
        for mic_hop, out_hop in zip(mic.reshape(-1, HOP), out.reshape(-1, HOP), strict=True):
            self._pass_on(mic_hop, out_hop)

    @property
    def _undisturbed(self) -> bool:
        """Whether what the processor made is heard as it is, as it was before."""
        return (
            self.ran
            and self._wet_gain == 1.0
            and self._wanted_gains(wet=True) == (1.0, 0.0)
            and self._warm >= self._line.warm_hops
            and self._wanted_line is self._line
        )

    def _pass_on(self, mic: Block, out: Block) -> None:
        """Blend what came out of one hop with the microphone."""
        moved = self._take_line()
        last_dry = self._line.newest
        self._line.push(mic)
        self._warm = self._warm + 1 if self.ran else 0
        wet = self._warm > self._line.warm_hops
        self._by_wish = self.bypass or (self._by_wish and self.ran and not wet)
        if not wet and not self._by_wish:
            self.bypassed_hops += 1
        self._mix(out, wet, moved, last_dry)
        self._last_out = float(out[-1])
        self.hops += 1

    def _take_line(self) -> bool:
        """Change to a microphone of another delay; whether that was due."""
        wanted = self._wanted_line
        if wanted is self._line:
            return False
        wanted.continue_from(self._line)
        self._line = wanted
        return True

    def _run(self, mic: Block, ref: Block, out: Block, late: bool) -> bool:
        """Fill ``out`` by the processor; False if the microphone must serve instead."""
        # A batch may reach past the end of the ring: a second part of it is then at the begin.
        slot, hops = self.hops % LOAD_HOPS, len(mic) // HOP
        past = max(0, slot + hops - LOAD_HOPS)
        self._loads[slot : slot + hops] = self._loads[:past] = 0
        processor = self._processor
        # When the user bypasses it, the processor is heard for one more hop, to be faded out.
        if processor is None or (self.bypass and self._wet_gain == 0.0):
            return False
        if late:
            self._tell_late()
            return False
        if self.hops < self._retry_at:
            return False
        self._was_late = False
        begin = perf_counter()
        try:
            # It may be another one since the caller looked, which takes other batches or none.
            process_hops(processor, mic, ref, out)
        except Exception as error:  # noqa: BLE001 - whatever breaks, the voice goes on
            self._fail(f"{type(error).__name__}: {error}")
            return False
        load = (perf_counter() - begin) * processor.sample_rate / len(mic)
        self._loads[slot : slot + hops] = self._loads[:past] = load
        # One dot product tells whether any sample is NaN or infinite.
        if not math.isfinite(float(np.dot(out, out))):
            self._fail("the network's output is not finite")
            return False
        if self.problem is not None:
            if self._told:
                LOG.info("processing again after: %s", self.problem)
            self.problem = None
            self._told = False
        return True

    def _tell_late(self) -> None:
        if not self._was_late and self.hops >= self._quiet_until:
            LOG.warning("this machine is too busy: the microphone goes through unprocessed")
            self._quiet_until = self.hops + QUIET_HOPS
        self._was_late = True

    def _fail(self, reason: str) -> None:
        if self.problem is None and self.hops >= self._quiet_until:
            LOG.error("the microphone goes through unprocessed: %s", reason)
            self._told = True
        self._quiet_until = self.hops + QUIET_HOPS
        self.problem = reason
        self._retry_at = self.hops + RETRY_HOPS
        if self._processor:
            try:
                self._processor.reset()
            except Exception as error:  # noqa: BLE001 - as above
                self.problem = f"{reason}; reset failed: {error}"

    def _wanted_gains(self, wet: bool) -> tuple[float, float]:
        """Of processor and microphone, by the user's wishes and whether the processor is ready."""
        share = self.strength / 100 if wet and not self.bypass else 0.0
        return (0.0, 0.0) if self.muted else (share, 1.0 - share)

    def _mix(self, out: Block, wet: bool, moved: bool, last_dry: float) -> None:
        """Blend ``out`` with the microphone, fading over the hop where the blend changes.

        ``last_dry`` is the sample of the microphone before those that are due now.
        """
        wet_gain, dry_gain = self._wanted_gains(wet)
        steady = wet_gain == self._wet_gain and dry_gain == self._dry_gain
        if steady and wet_gain == 1.0:
            return
        if steady and dry_gain == 1.0 and not moved:
            self._line.give(out)
            return
        self._line.give(self._dry)
        if moved or (not wet and self._wet_gain > 0.0):
            # The processor's sound broke off, or the microphone's delay is another from here on:
            # the microphone takes over at once, and the step is spread over the hop.
            np.copyto(out, self._dry)
            self._fade(out, self._wet_gain + self._dry_gain, wet_gain + dry_gain)
            step = self._last_out - last_dry * (self._wet_gain + self._dry_gain)
            np.multiply(self._rise, np.float32(-step), out=self._gains)
            self._gains += np.float32(step)
            out += self._gains
        else:
            if wet_gain == self._wet_gain == 0.0:
                out[:] = 0
            else:
                self._fade(out, self._wet_gain, wet_gain)
            self._fade(self._dry, self._dry_gain, dry_gain)
            out += self._dry
        self._wet_gain, self._dry_gain = wet_gain, dry_gain

    def _fade(self, block: Block, start: float, end: float) -> None:
        if start == end:
            block *= np.float32(end)
            return
        np.multiply(self._rise, np.float32(end - start), out=self._gains)
        self._gains += np.float32(start)
        block *= self._gains
