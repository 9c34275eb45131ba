"""What a check found, and the form of a check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    Attributes
    ----------
    topic : what was looked at, in a word or two
    verdict : ``"problem"`` keeps pipedtln from its work, ``"warning"`` makes it worse
    says : what is so
    mend : the command or deed that mends it, empty where there is nothing to mend
    """

    topic: str
    verdict: Verdict
    says: str
    mend: str = ""


def ok(topic: str, says: str) -> Finding:
    """All is well."""
    return Finding(topic, "ok", says)


def warning(topic: str, says: str, mend: str = "") -> Finding:
    """It works, but worse than it could."""
    return Finding(topic, "warning", says, mend)


def problem(topic: str, says: str, mend: str = "") -> Finding:
    """It does not work."""
    return Finding(topic, "problem", says, mend)


Check: TypeAlias = Callable[[], Iterator[Finding]]
"""Looks at one thing. What it raises is a finding too."""
