"""When to ask PipeWire anew for its defaults, because it may have left a change out.

PipeWire does not tell its clients of a default that changes in the moment in which another client
connects, and they never learn of it; nor of any other, where that client was gone before the policy
daemon had answered for it. A new connection does. To make one in that very moment would do the same
to others, so it waits until the policy daemon has had its say.
"""

from __future__ import annotations

SETTLE_S = 1.0
"""Seconds after a change of devices in which the defaults may follow."""
CLIENT_PAUSE_S = 2.0
"""Least seconds between two checks because of new clients: status bars connect all the time."""
OWN_S = 0.3
"""Seconds after a check in which a new client is taken for our own connection."""


class Recheck:
    """Plans the checks; all times are monotonic seconds."""

    def __init__(self) -> None:
        self._changed_at: float | None = None
        self._done_at = self._client_at = float("-inf")
        self.at: float | None = None
        """When the next check is due; None while nothing asks for one."""

    def devices_changed(self, now: float) -> None:
        """Devices came, went or changed."""
        self._changed_at = now
        if self.at is None:
            self.at = now + SETTLE_S

    def client_came(self, now: float) -> None:
        """Somebody connected, and a change of this moment may be lost."""
        if now - self._done_at >= OWN_S and now - self._client_at >= CLIENT_PAUSE_S:
            self._client_at = now
            self.devices_changed(now)

    def due(self, now: float) -> bool:
        """Whether it is time."""
        return self.at is not None and now >= self.at

    def done(self, now: float) -> None:
        """The defaults were asked for anew; what changed just before asks for it again."""
        self._done_at = now
        settled = None if self._changed_at is None else self._changed_at + SETTLE_S
        self.at = settled if settled is not None and settled > now else None
