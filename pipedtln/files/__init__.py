"""File mode: a recording in, a clean recording of the same length and rate out."""

from __future__ import annotations

from pipedtln.files.process import Align, Pair, Progress, Report, process_file
from pipedtln.files.read import MonoReader, SoundInfo
from pipedtln.files.write import SoundWriter

__all__ = [
    "Align",
    "MonoReader",
    "Pair",
    "Progress",
    "Report",
    "SoundInfo",
    "SoundWriter",
    "process_file",
]
