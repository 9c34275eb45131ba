"""How long the echo takes from the reference to the microphone, measured all the time."""

from __future__ import annotations

import numpy as np

from pipedtln.stream.flux import Array, FluxTrack

MIN_LAG = -5
"""Hops: the reference may come 40 ms after its echo."""
MAX_LAG = 250
"""Hops: 2 s."""

_LAGS = MAX_LAG - MIN_LAG + 1
_SPAN = 512
_MEMORY = 110.0
"""Active frames that the running means remember (0.9 s)."""
_TRUST = 45.0
"""Active frames that a lag needs before its mean counts fully."""
_DECIDE_EVERY = 4
_NEIGHBOURS = 5
"""Lags this close to a peak belong to it: frames overlap and rooms smear."""
_AROUND, _OVER = 3, 0.5
"""Lags around the peak, and the share of it above which they weigh: the delay is their centre, that
moves less than the peak does and lies between hops."""
_ASIDE = 0.75
"""Hops by which the centre must lie beside the present delay to be evidence that it moved."""
_BONUS = 0.3
"""Margin below which a peak is no evidence: without any echo the best of 256 has about this."""
_CHANCE = 0.36
"""Spread of unrelated flux after one frame (0.034 after 110)."""
_ENOUGH_FIRST = 10.0
_ENOUGH_CHANGE = 14.0
_FULL = 25.0
_FOLLOW = 10
"""Decisions in a row beside the present delay that move it by one hop."""


class DelayEstimator:
    """Finds the lag at which the microphone's spectrum changes as the reference's did.

    Each frame of either signal is reduced to its spectral flux in 40 bands
    (:class:`~pipedtln.stream.flux.FluxTrack`). For each of 256 lags a running mean over active
    reference frames holds the normalised correlation of the two; a lag that stands out from all
    others for long enough is the delay. Every pair of frames is compared once, as soon as both are
    known, whatever hold either signal is under at that time.

    Why flux: on 64 simulated scenes (noise, double talk, clipping, volume changes, music) the same
    averaging of WebRTC's binary spectra had the right lag in 83 % of all hops from 1.2 s of echo
    on (4 % in its worst scene), of log levels 90 % (4 %), of their signs 88 % (8 %), of flux 97 %
    (68 %); this class 97 % (66 %), all of two real recordings, at 45 us per hop
    (``python -m benchmarks.delay``).

    Sources: the binary spectra are those of WebRTC,
    ``modules/audio_processing/utility/delay_estimator.h`` (Völcker & Kleijn, "Robust and low
    complexity delay estimation", IWAENC 2012); flux as the mark of an onset is S. Dixon, "Onset
    detection revisited", DAFx 2006. What is taken is the idea, no code.
    """

    def __init__(self, bins: int = 257, sample_rate: int = 16_000) -> None:
        self._mic = FluxTrack(bins, sample_rate, _SPAN)
        self._ref = FluxTrack(bins, sample_rate, _SPAN)
        # Rows: correlation, energy of the microphone's flux, energy of the reference's.
        self._mean = np.zeros((3, _LAGS), np.float32)
        self._count = np.zeros(_LAGS, np.float32)
        self._new = np.zeros((3, _LAGS), np.float32)
        self._gain = np.zeros(_LAGS, np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget all that was heard."""
        self._mic.reset()
        self._ref.reset()

        self._mean.fill(0.0)
        self._count.fill(0.0)
        self._delay: int | None = None
        self._support = 0.0
        self._rival = 0
        self._rival_support = 0.0
        self._offset = 0
        self._tick = 0
        self._expected: int | None = None

    def expect(self, delay_hops: int) -> None:
        """Take less evidence for a first answer near `delay_hops`."""
        self._expected = delay_hops

    @property
    def delay_hops(self) -> int | None:
        """Hops by which the echo in the microphone lags the reference; None until found."""
        return self._delay

    @property
    def confidence(self) -> float:
        """0 (a guess or nothing) to 1 (has stood out for long)."""
        return 0.0 if self._delay is None else min(1.0, self._support / _FULL)

    def update(
        self, mic_power: Array, mic_hop: int | None, ref_power: Array, ref_hop: int | None
    ) -> None:
        """Take the two spectra of one hop.

        Parameters
        ----------
        mic_power, ref_power : float32, shape (bins,); squared magnitudes
        mic_hop, ref_hop : absolute index, on one common clock, of the newest hop within each
            frame; None for a frame that is not a stretch of its signal (silence put in, a splice)
        """
        heard = False
        if mic_hop is not None and self._mic.put(mic_hop, mic_power):
            heard = self._compare_mic(mic_hop)
        if ref_hop is not None and self._ref.put(ref_hop, ref_power):
            heard = self._compare_ref(ref_hop) or heard
        if heard:
            self._tick += 1
            if self._tick % _DECIDE_EVERY == 0:
                self._decide()

    def _compare_mic(self, hop: int) -> bool:
        if self._ref.head is None:
            return False
        first = max(hop - MAX_LAG, self._ref.oldest)
        last = min(hop - MIN_LAG, self._ref.head)
        if last < first:
            return False
        flux, energy, weight = self._ref.window(first, last)
        if not weight.any():
            return False
        own, own_energy, _ = self._mic.window(hop, hop)
        lags = slice(hop - last - MIN_LAG, hop - first - MIN_LAG + 1)
        new = self._new[:, lags]
        new[0] = (flux @ own[0])[::-1]
        new[1] = own_energy[0]
        new[2] = energy[::-1]
        self._blend(lags, weight[::-1])
        return True

    def _compare_ref(self, hop: int) -> bool:
        own, own_energy, weight = self._ref.window(hop, hop)
        if self._mic.head is None or not weight[0]:
            return False
        first = max(hop + MIN_LAG, self._mic.oldest)
        # The pair with the present microphone frame is compared here and not in _compare_mic,
        # which ran before this frame was known.
        last = min(hop + MAX_LAG, self._mic.head)
        if last < first:
            return False
        flux, energy, _ = self._mic.window(first, last)
        lags = slice(first - hop - MIN_LAG, last - hop - MIN_LAG + 1)
        new = self._new[:, lags]
        np.dot(flux, own[0], out=new[0])
        new[1] = energy
        new[2] = own_energy[0]
        self._blend(lags, weight)
        return True

    def _blend(self, lags: slice, weight: Array) -> None:
        count, gain, mean, new = (
            self._count[lags],
            self._gain[lags],
            self._mean[:, lags],
            self._new[:, lags],
        )
        np.add(count, weight, out=count)
        np.minimum(count, _MEMORY, out=count)
        np.maximum(count, 1.0, out=gain)
        np.divide(weight, gain, out=gain)
        np.subtract(new, mean, out=new)
        np.multiply(new, gain, out=new)
        np.add(mean, new, out=mean)

    def scores(self) -> Array:
        """Normalised correlation of each lag from MIN_LAG to MAX_LAG, shape (256,), [-1, 1]."""
        trust = np.minimum(self._count * (1.0 / _TRUST), 1.0)
        scores: Array = self._mean[0] * trust / np.sqrt(self._mean[1] * self._mean[2] + 1e-4)
        return scores

    def _decide(self) -> None:
        scores = self.scores()
        best = int(scores.argmax())
        chance = _CHANCE / float(np.sqrt(max(1.0, float(self._count[best]))))
        spread = max(float(scores.std()), chance)
        peak = float(scores[best])
        first = max(0, best - _AROUND)
        weights = np.maximum(scores[first : best + _AROUND + 1] - _OVER * peak, 0.0)
        total = float(weights.sum())
        centre = float(best)
        if total > 0.0:
            centre = first + float(weights @ np.arange(len(weights))) / total
        centre += MIN_LAG
        near = slice(max(0, best - _NEIGHBOURS), best + _NEIGHBOURS + 1)
        scores[near] = -1.0
        margin = (peak - float(scores.max())) / spread - _BONUS
        evidence = min(max(margin, 0.0), 4.0)
        lag = round(centre)
        if self._delay is not None and abs(lag - self._delay) < _NEIGHBOURS - 1:
            self._confirm(centre - self._delay, evidence)
        else:
            self._doubt(lag, evidence)

    def _doubt(self, lag: int, evidence: float) -> None:
        """Hear evidence for another lag than the present one."""
        beside = abs(lag - self._rival) <= 1
        self._rival_support = evidence + (self._rival_support if beside else 0.0)
        self._rival = lag
        self._support = max(0.0, self._support - evidence)
        enough = _ENOUGH_CHANGE
        if self._delay is None:
            expected = self._expected is not None and abs(lag - self._expected) <= _NEIGHBOURS
            enough = _ENOUGH_FIRST * (0.5 if expected else 1.0)
        if self._rival_support > enough:
            self._delay = lag
            self._support = self._rival_support
            self._rival_support = 0.0
            self._offset = 0

    def _confirm(self, aside: float, evidence: float) -> None:
        """Hear evidence for the present lag or, where it stays that much aside, walk there."""
        self._support = min(_FULL, self._support + evidence)
        self._rival_support = 0.0
        if abs(aside) < _ASIDE or evidence == 0.0 or aside * self._offset < 0:
            self._offset = 0
            return
        self._offset += 1 if aside > 0 else -1
        if abs(self._offset) == _FOLLOW and self._delay is not None:
            self._delay += 1 if aside > 0 else -1
            self._offset = 0
