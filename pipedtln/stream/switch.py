"""The right network at the right time: echo cancelled while there is an echo, else noise.

An echo canceller costs several times what a noise suppressor does, and removes less noise; so it
runs only while the far end sounds. Which size of it runs follows what the machine can bear.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np

from pipedtln.processor import (
    HOP,
    SAMPLE_RATE,
    Block,
    Processor,
    batch_of,
    check_block,
    takes_batches,
)
from pipedtln.stream.align import EchoProcessor
from pipedtln.stream.flux import Array

SLOW = 0.7
"""Share of a hop above which an inference counts as slow."""
SLOW_HOPS = 6
"""Slow hops within a second that lower the network's size."""
CALM_HOPS = 30 * SAMPLE_RATE // HOP
"""Hops (30 s) without several slow ones after which the next larger size is tried again; twice as
many after each trial that failed."""
MOST_CALM_HOPS = 16 * CALM_HOPS
"""Hops (8 min) that are the longest such wait."""


class NetworkSwitch:
    """Several networks as one processor; a change warms the next one up and cross-fades.

    All must share hop, rate and latency.

    Parameters
    ----------
    quiet : runs while :attr:`far_end` is false; None lets the echo canceller run always
    echoes : run while the far end sounds; the first is the largest, the others stand in for it
        when the machine is busy
    """

    def __init__(self, quiet: Processor | None, echoes: Sequence[EchoProcessor]) -> None:
        self._quiet = quiet
        self._echoes = tuple(echoes)
        kinds = {(p.sample_rate, p.hop, p.latency_samples) for p in self.networks}
        if len(kinds) != 1:
            raise ValueError(f"the networks differ in rate, hop or latency: {sorted(kinds)}")
        (self.sample_rate, self.hop, self.latency_samples), *_ = kinds
        self._warm_hops = self.latency_samples // self.hop + 1
        """Hops that a network runs unheard before it is faded in: its first whole frame."""
        self._level = 0
        self._patience = CALM_HOPS
        self._on_trial = False
        self.far_end = False
        """Whether there is far-end sound to cancel; set it before each hop."""
        self.switches = 0
        """Changes of the network since it was made."""
        self._other = np.zeros(self.hop, dtype=np.float32)
        self._rise = np.linspace(1 / self.hop, 1, self.hop, dtype=np.float32)
        self._active = self._wanted()
        self.reset()

    @property
    def uses_reference(self) -> bool:
        """Whether the network that runs now looks at the reference."""
        return self._active.uses_reference

    @property
    def networks(self) -> tuple[Processor, ...]:
        """All that may run."""
        return (self._quiet, *self._echoes) if self._quiet else self._echoes

    @property
    def active(self) -> Processor:
        """The network that is heard now."""
        return self._active

    @property
    def mic_power(self) -> Array | None:
        """Spectrum of the last microphone frame, if the echo canceller saw it."""
        echo = self._echo_that_ran
        return None if echo is None else echo.mic_power

    @property
    def ref_power(self) -> Array | None:
        """Spectrum of the last reference frame, if the echo canceller saw it."""
        echo = self._echo_that_ran
        return None if echo is None else echo.ref_power

    @property
    def mic_powers(self) -> Array | None:
        """Spectra of the last microphone frames, if the echo canceller saw several at once."""
        return getattr(self._echo_that_ran, "mic_powers", None)

    @property
    def ref_powers(self) -> Array | None:
        """Spectra of the last reference frames, if the echo canceller saw several at once."""
        return getattr(self._echo_that_ran, "ref_powers", None)

    @property
    def batch(self) -> int:
        """Hops that may go at once now: those of the network, and 1 while a change is due."""
        settled = self._next is None and self._wanted() is self._active
        return batch_of(self._active) if settled else 1

    def forget(self) -> None:
        """Let the echo cancellers that run forget where the echo was."""
        for echo in self._echoes:
            if echo is self._active or echo is self._next:
                echo.forget()

    def reset(self) -> None:
        """Forget all sound; the size that the machine can bear is kept."""
        self._next: Processor | None = None
        self._warm = 0
        self._slow = 0
        self._calm = 0
        self._hops = 0
        self._echo_that_ran: EchoProcessor | None = None
        self._active = self._wanted()
        self._active.reset()

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        """Process one hop by the active network; see :class:`pipedtln.processor.Processor`."""
        check_block(out, self.hop, "out")
        begin = perf_counter()
        if self._next is None:
            wanted = self._wanted()
            if wanted is not self._active:
                self._next, self._warm = wanted, 0
                wanted.reset()
        if self._next is not None:
            self._next.process(mic, ref, self._other)
            self._warm += 1
        self._active.process(mic, ref, out)
        self._note_echo()
        if self._next is not None:
            if self._warm > self._warm_hops:
                self._other -= out
                self._other *= self._rise
                out += self._other
                self._active, self._next = self._next, None
                self.switches += 1
        else:
            self._govern(perf_counter() - begin)

    def process_batch(self, mic: Block, ref: Block, out: Block) -> None:
        """Process several hops at once; see :class:`pipedtln.processor.BatchProcessor`."""
        begin = perf_counter()
        active = self._active
        assert takes_batches(active)
        active.process_batch(mic, ref, out)
        self._note_echo()
        hops = len(mic) // self.hop
        each = (perf_counter() - begin) / hops
        for _ in range(hops):
            self._govern(each)

    def _wanted(self) -> Processor:
        if self._quiet is not None and not (self.far_end and self._echoes):
            return self._quiet
        return self._echoes[self._level]

    def _note_echo(self) -> None:
        """Remember whose spectra are of this hop."""
        self._echo_that_ran = next(
            (echo for echo in self._echoes if echo is self._active or echo is self._next), None
        )

    def _govern(self, seconds: float) -> None:
        """Lower the size when inferences are slow, raise it after a while of calm."""
        if not self._echoes or self._active is not self._echoes[self._level]:
            return
        self._hops += 1
        if self._hops % (SAMPLE_RATE // HOP) == 0:
            self._slow = 0
        if seconds * self.sample_rate > SLOW * self.hop:
            self._slow += 1
            if self._slow > 1:
                # A single one within a second is another program's doing.
                self._calm = 0
            if self._slow >= SLOW_HOPS and self._level + 1 < len(self._echoes):
                if self._on_trial:
                    self._patience = min(2 * self._patience, MOST_CALM_HOPS)
                self._on_trial = False
                self._level += 1
                self._slow = 0
            return
        self._calm += 1
        if self._on_trial and self._calm >= CALM_HOPS:
            # The machine bears this size again.
            self._on_trial = False
            self._patience = CALM_HOPS
        if self._calm >= self._patience and self._level > 0:
            self._level -= 1
            self._on_trial = True
            self._calm = 0
