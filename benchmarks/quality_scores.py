"""Scores of one cleaned recording."""

from __future__ import annotations

import contextlib
import math
import warnings
from dataclasses import dataclass

import numpy as np

from benchmarks.quality_set import Case
from benchmarks.scenes import RATE, Sound, shifted

_SETTLED = 3 * RATE
"""Samples after which suppression counts."""


@dataclass(frozen=True)
class Scores:
    """NaN where a score does not apply.

    ``echo`` and ``degradation``: AECMOS, 1 to 5. ``overall``: DNSMOS OVRL, 1 to 5.
    ``suppression_db``: far-end single talk after 3 s. ``si_sdr_db``, ``pesq``: against the clean
    near end.
    """

    echo: float
    degradation: float
    overall: float
    suppression_db: float
    si_sdr_db: float
    pesq: float

    @property
    def aecmos(self) -> float:
        """Mean of echo and degradation."""
        return (self.echo + self.degradation) / 2


def score(case: Case, out: Sound) -> Scores:
    """Score `out`, which lies in time with the case's microphone.

    AECMOS is given the reference where the echo has it, so that it judges the sound and not how
    well it finds the echo itself.
    """
    echo, degradation = aecmos(case, out)
    speech = case.talk != "st"
    clean = case.near if speech else None
    return Scores(
        echo=echo,
        degradation=degradation,
        overall=dnsmos(out) if speech else math.nan,
        suppression_db=math.nan if speech else suppression_db(case.mic, out),
        si_sdr_db=math.nan if clean is None else si_sdr_db(clean, out),
        pesq=math.nan if clean is None else pesq(clean, out),
    )


def aecmos(case: Case, out: Sound) -> tuple[float, float]:
    """AECMOS of Purin et al., ICASSP 2022, 16 kHz model that is told who talks."""
    from speechmos import aecmos as model

    ref = case.ref if case.delay_ms is None else shifted(case.ref, round(case.delay_ms * 16))
    sample = {"lpb": _bounded(ref), "mic": _bounded(case.mic), "enh": _bounded(out)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = model.run(sample, RATE, talk_type=case.talk)
    return float(said["echo_mos"]), float(said["deg_mos"])


def dnsmos(out: Sound) -> float:
    """DNSMOS P.835 overall, of Reddy et al., ICASSP 2022."""
    from speechmos import dnsmos as model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(model.run(_bounded(out), RATE)["ovrl_mos"])


def suppression_db(mic: Sound, out: Sound) -> float:
    """Energy of the microphone over that of the output, after 3 s."""
    before = float(np.mean(np.square(mic[_SETTLED:], dtype=np.float64)))
    after = float(np.mean(np.square(out[_SETTLED:], dtype=np.float64)))
    return 10 * math.log10(before / max(after, before * 1e-9))


def si_sdr_db(clean: Sound, out: Sound) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al., ICASSP 2019)."""
    target = clean.astype(np.float64)
    given = out.astype(np.float64)
    projected = target * (float(given @ target) / max(float(target @ target), 1e-12))
    rest = given - projected
    return 10 * math.log10((float(projected @ projected) + 1e-12) / (float(rest @ rest) + 1e-12))


def pesq(clean: Sound, out: Sound) -> float:
    """Wide-band PESQ (ITU-T P.862.2); NaN where it finds no speech."""
    from pesq import PesqError
    from pesq import pesq as measure

    with contextlib.suppress(PesqError):
        return float(measure(RATE, clean, out, "wb"))
    return math.nan


def _bounded(sound: Sound) -> Sound:
    return np.clip(sound, -1.0, 1.0).astype(np.float32)
