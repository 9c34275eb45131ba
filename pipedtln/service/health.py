"""Tells a bridge that hangs from one that has nothing to do."""

from __future__ import annotations

from time import monotonic

from pipedtln.stream.engine import Engine

HUNG_S = 5.0
"""Seconds after which a hop that is still being worked on is said to hang."""
BLIND_S = 50.0
"""The same for the supervisor, which looks every 30 s at least and may wait for a server."""


def hung(engine: Engine, supervisor_alive_at: float) -> str | None:
    """Which of the threads hangs, None if none does; an idle one does not.

    Parameters
    ----------
    supervisor_alive_at : monotonic seconds of the supervisor's last completed look
    """
    now = monotonic()
    if now - supervisor_alive_at > BLIND_S:
        return f"no look at the devices for {now - supervisor_alive_at:.0f} s"
    busy_since = engine.busy_since
    if busy_since is not None and now - busy_since > HUNG_S:
        return f"the network has been busy with one hop for {now - busy_since:.0f} s"
    return None
