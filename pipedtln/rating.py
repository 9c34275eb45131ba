"""Rates recordings of speech with DNSMOS, where the package speechmos is installed."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import warnings
from pathlib import Path

import numpy as np

from pipedtln.files.read import MonoReader
from pipedtln.processor import SAMPLE_RATE

_log = logging.getLogger(__name__)

_NEEDS = ("speechmos", "onnxruntime", "librosa")
_LONGEST_S = 60
"""Of a longer recording the beginning is rated: the network goes over it second by second."""


def can_rate() -> bool:
    """Whether what it needs is installed."""
    return all(importlib.util.find_spec(name) is not None for name in _NEEDS)


def dnsmos(path: Path) -> float | None:
    """Overall quality from 1 to 5 as DNSMOS P.835 judges it (Reddy et al., ICASSP 2022).

    Returns
    -------
    None where it cannot be judged: not installed, or its own failure, which is logged.

    Raises
    ------
    InputError
        If the recording cannot be read.
    """
    if not can_rate():
        return None
    with MonoReader(path, rate=SAMPLE_RATE) as reader:
        sound = reader.take(_LONGEST_S * SAMPLE_RATE)
    try:
        model = importlib.import_module("speechmos.dnsmos")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(model.run(np.clip(sound, -1, 1), SAMPLE_RATE)["ovrl_mos"])
    except Exception as error:  # noqa: BLE001 - a rating is an extra, whatever its package does
        _log.warning("no DNSMOS: %s", error)
        return None
