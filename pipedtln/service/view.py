"""What the supervisor tells of its knowledge."""

from __future__ import annotations

from dataclasses import dataclass

from pipedtln.audio.api import Route, Session
from pipedtln.devices.recorders import Recorder
from pipedtln.service.desk import Survey


@dataclass(frozen=True)
class View:
    """What the supervisor knows now; replaced as a whole, so that any thread may read it."""

    survey: Survey | None = None
    recorders: tuple[Recorder, ...] = ()
    route: Route | None = None
    session: Session | None = None
    problems: tuple[str, ...] = ()
    ready: bool = False
    """Whether the virtual devices exist."""
