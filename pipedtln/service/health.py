"""Tells a bridge that hangs from one that has nothing to do."""

from __future__ import annotations

from time import monotonic

from pipedtln.audio.api import Session
from pipedtln.processor import SAMPLE_RATE
from pipedtln.stream.engine import Engine

HUNG_S = 5.0
"""Seconds after which a worker that has sound to work on and does not is called hung."""
BLIND_S = 50.0
"""The same for the supervisor, which looks every 30 s at least and may wait for a server."""
WAITING = SAMPLE_RATE // 2
"""Samples (0.5 s) that wait at a worker that does not work."""


def hung(engine: Engine, session: Session | None, supervisor_alive_at: float) -> str | None:
    """Which of the threads hangs, None if none does; an idle one does not.

    Parameters
    ----------
    session : what is open; None while nobody records
    supervisor_alive_at : monotonic seconds of the supervisor's last completed look
    """
    now = monotonic()
    if now - supervisor_alive_at > BLIND_S:
        return f"no look at the devices for {now - supervisor_alive_at:.0f} s"
    if session is not None and session.mic.readable >= WAITING:
        idle_s = now - engine.last_hop_at
        if idle_s > HUNG_S:
            return f"the network has been busy with one hop for {idle_s:.0f} s"
    return None
