"""Looks at all that pipedtln needs, and names what is wrong and the command that mends it."""

from pipedtln.doctor.examine import examine
from pipedtln.doctor.finding import Finding

__all__ = ["Finding", "examine"]
