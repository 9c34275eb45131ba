"""What the monitor says in words above its pictures."""

from __future__ import annotations

from pipedtln.control.api import Status
from pipedtln.control.words import state


def headline(now: Status) -> str:
    """The state; the first problem where there is one."""
    return " - ".join([state(now.state), *now.problems[:1]])


def devices(now: Status) -> str:
    """What is joined, and who listens."""
    recorders = ", ".join(now.recorders) or "nobody"
    return f"mic {now.mic or 'none'}   echo reference {now.reference or 'none'}   for {recorders}"


def figures(now: Status) -> str:
    """How well it does, in one line of at most 80 columns."""
    return "   ".join(
        [
            f"latency {_number(now.latency_ms, 'ms')}",
            f"load {_percent(now.load.get('mean'))} (p99 {_percent(now.load.get('p99'))})",
            f"echo {_number(now.echo_delay_ms, 'ms')}, {_number(now.echo_suppression_db, 'dB')}",
            f"xruns {now.xruns}",
        ]
    )


def steering(now: Status) -> str:
    """What the keys change."""
    switches = [word for word, on in (("BYPASS", now.bypass), ("MUTE", now.muted)) if on]
    said = f"model {now.model or 'none'}   strength {now.strength} %"
    return "   ".join([said, *switches])


def _number(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.0f} {unit}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
