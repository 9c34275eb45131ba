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
_BATCH = 8
"""Hops (64 ms) that are worked on together and after which is decided: one alone costs little less,
and each call much more than in a loop, because 8 ms later other things are in the caches."""
_MEMORY = 110.0
"""Active frames that the running means remember (0.9 s)."""
_TRUST = 45.0
"""Active frames that a lag needs before its mean counts fully."""
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
_ENOUGH_FIRST = 5.0
_ENOUGH_CHANGE = 7.0
_FULL = 12.5
_FOLLOW = 5
"""Decisions in a row beside the present delay that move it by one hop."""


class DelayEstimator:
    """Finds the lag at which the microphone's spectrum changes as the reference's did.

    Each frame of either signal is reduced to its spectral flux in 40 bands
    (:class:`~pipedtln.stream.flux.FluxTrack`). For each of 256 lags a running mean over active
    reference frames holds the normalised correlation of the two; a lag that stands out from all
    others for long enough is the delay. Every pair of frames is compared once, within a batch of
    both being known, whatever hold either signal is under at that time.

    Why flux: on 64 simulated scenes (noise, double talk, clipping, volume changes, music) the same
    averaging of WebRTC's binary spectra had the right lag in 83 % of all hops from 1.2 s of echo
    on (4 % in its worst scene), of log levels 90 % (4 %), of their signs 88 % (8 %), of flux 97 %
    (68 %); this class 98 % (68 %), all of two real recordings, at 13 us per hop
    (``python -m benchmarks.delay``).

    Sources: the binary spectra are those of WebRTC,
    ``modules/audio_processing/utility/delay_estimator.h`` (Völcker & Kleijn, "Robust and low
    complexity delay estimation", IWAENC 2012); flux as the mark of an onset is S. Dixon, "Onset
    detection revisited", DAFx 2006. What is taken is the idea, no code.
    """

    def __init__(self, bins: int = 257, sample_rate: int = 16_000) -> None:
        self._mic = FluxTrack(bins, sample_rate, _SPAN, _BATCH)
        self._ref = FluxTrack(bins, sample_rate, _SPAN, _BATCH)
        # Rows: correlation, energy of the microphone's flux, energy of the reference's; of what is
        # new, also the weight.
        self._mean = np.zeros((3, _LAGS), np.float32)
        self._new = np.zeros((4, _LAGS), np.float32)
        self._count = np.zeros(_LAGS, np.float32)
        self._gain = np.zeros(_LAGS, np.float32)
        self._pairs = np.zeros(4 * _BATCH * (_LAGS + 2 * (_BATCH - 1)), np.float32)
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
        self._undecided = 0
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
        given = [
            (track, hop, power)
            for track, hop, power in (
                (self._mic, mic_hop, mic_power),
                (self._ref, ref_hop, ref_power),
            )
            if hop is not None and track.is_news(hop)
        ]
        if not all(track.follows(hop) for track, hop, _ in given):
            self._work()
        for track, hop, power in given:
            track.add(hop, power)
        if _BATCH in (self._mic.waiting, self._ref.waiting):
            self._work()

    def _work(self) -> None:
        """Compare the frames that wait with all others, and decide."""
        self._new.fill(0.0)
        # Of a pair of two that wait the microphone's is known before the reference's is compared.
        first, mics = self._mic.work_off()
        if mics and self._ref.head is not None:
            self._compare_mic(first, mics, self._ref.head)
        first, refs = self._ref.work_off()
        if refs and self._mic.head is not None:
            self._compare_ref(first, refs, self._mic.head)
        if not self._new[3].any():
            return
        self._blend()
        self._undecided += max(mics, refs)
        if self._undecided >= _BATCH:
            self._undecided = 0
            self._decide()

    def _compare_mic(self, first: int, count: int, head: int) -> None:
        """Pairs of microphone frames from hop `first` on with the reference's up to `head`."""
        begin = max(first - MAX_LAG, self._ref.oldest)
        end = min(first + count - 1 - MIN_LAG, head) + 1
        if end <= begin:
            return
        flux, energy, weight = self._ref.window(begin, end - 1)
        if not weight.any():
            return
        own, own_energy, _ = self._mic.window(first, first + count - 1)
        pairs = self._table(count, end - begin)
        np.matmul(own, flux.T, out=pairs[0])
        pairs[0] *= weight
        np.multiply(own_energy[:, None], weight, out=pairs[1])
        np.multiply(energy, weight, out=pairs[2])
        pairs[3] = weight
        # The later the reference's frame, the less its lag.
        end = first - begin - MIN_LAG + 1
        sums = self._diagonals(pairs, end)
        self._new[:, end - sums.shape[1] : end] += sums[:, ::-1]

    def _compare_ref(self, first: int, count: int, head: int) -> None:
        """Pairs of reference frames from hop `first` on with the microphone's up to `head`."""
        own, own_energy, weight = self._ref.window(first, first + count - 1)
        begin = max(first + MIN_LAG, self._mic.oldest)
        end = min(first + count - 1 + MAX_LAG, head) + 1
        if end <= begin or not weight.any():
            return
        flux, energy, _ = self._mic.window(begin, end - 1)
        pairs = self._table(count, end - begin)
        column = weight[:, None]
        np.matmul(own * column, flux.T, out=pairs[0])
        np.multiply(column, energy, out=pairs[1])
        pairs[2] = column * own_energy[:, None]
        pairs[3] = column
        start = begin - first - MIN_LAG
        sums = self._diagonals(pairs, _LAGS - start)
        self._new[:, start : start + sums.shape[1]] += sums

    def _table(self, count: int, others: int) -> Array:
        """Room for what pairs of `count` frames with others tell, shape (4, count, others)."""
        width = others + count - 1
        table = self._pairs[: 4 * count * width].reshape(4, count, width)
        table[:, :, others:] = 0.0
        return table[:, :, :others]

    def _diagonals(self, pairs: Array, most: int) -> Array:
        """Sums of a table over pairs of one lag, from its corner on, shape (4, lags)."""
        _, count, others = pairs.shape
        plane, row, column = pairs.strides
        lags = min(others, most)
        alike = np.ndarray(
            (4, count, lags), np.float32, self._pairs, 0, (plane, row + column, column)
        )
        sums: Array = alike.sum(axis=1)
        return sums

    def _blend(self) -> None:
        """Let the running means take what is new, by its weight."""
        new, weight = self._new[:3], self._new[3]
        np.add(self._count, weight, out=self._count)
        np.minimum(self._count, _MEMORY, out=self._count)
        np.maximum(self._count, 1.0, out=self._gain)
        np.subtract(new, self._mean * weight, out=new)
        np.divide(new, self._gain, out=new)
        np.add(self._mean, new, out=self._mean)

    def scores(self) -> Array:
        """Normalised correlation of each lag from MIN_LAG to MAX_LAG, shape (256,), [-1, 1]."""
        trust = np.minimum(self._count * (1.0 / _TRUST), 1.0)
        scores: Array = self._mean[0] * trust / np.sqrt(self._mean[1] * self._mean[2] + 1e-4)
        return scores

    def _decide(self) -> None:
        scores = self.scores()
        best = int(scores.argmax())
        chance = _CHANCE / max(1.0, float(self._count[best])) ** 0.5
        variance = float(scores @ scores) / _LAGS - (float(scores.sum()) / _LAGS) ** 2
        spread = max(variance**0.5, chance) if variance > 0.0 else chance
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
