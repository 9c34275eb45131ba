"""What the tray's menu offers in which state of the bridge."""

from __future__ import annotations

from collections.abc import Sequence

from pipedtln.control import words
from pipedtln.control.api import Status
from pipedtln.tray.menu import Entry

STRENGTHS = (100, 80, 60, 40, 20, 0)
_STRENGTH, _MICROPHONE = 100, 200
"""Numbers of the two submenus; those of what is in them follow."""


def entries(
    status: Status | None,
    microphone: str = "auto",
    microphones: Sequence[tuple[str, str]] = (),
    problem: str = "",
) -> list[Entry]:
    """The menu's lines.

    Parameters
    ----------
    status : None while the service does not run
    microphone : the setting, a name or ``"auto"``
    microphones : names and descriptions of what can be chosen
    problem : of the last click, if it had one
    """
    told = [Entry(2, problem, enabled=False)] if problem else []
    leave = [Entry(90), Entry(91, "Close this icon", value=("quit", None))]
    if status is None:
        start = Entry(3, "Start the service", value=("start", None))
        return [Entry(1, "The service is not running", enabled=False), *told, start, *leave]
    strengths = sorted({*STRENGTHS, status.strength}, reverse=True)
    names = dict(microphones)
    offered = [("auto", "Choose by itself"), *names.items()]
    if microphone not in ("auto", *names):
        offered.append((microphone, f"{microphone} (not there)"))
    return [
        Entry(1, describe(status), enabled=False),
        *told,
        Entry(10),
        Entry(11, "Bypass", ticked=status.bypass, value=("bypass", not status.bypass)),
        Entry(12, "Mute", ticked=status.muted, value=("muted", not status.muted)),
        Entry(
            _STRENGTH,
            f"Strength: {status.strength} %",
            children=tuple(
                Entry(
                    _STRENGTH + 1 + at,
                    f"{strength} %",
                    ticked=strength == status.strength,
                    one_of_many=True,
                    value=("strength", strength),
                )
                for at, strength in enumerate(strengths)
            ),
        ),
        Entry(
            _MICROPHONE,
            "Microphone",
            children=tuple(
                Entry(
                    _MICROPHONE + 1 + at,
                    says,
                    ticked=name == microphone,
                    one_of_many=True,
                    value=("mic", name),
                )
                for at, (name, says) in enumerate(offered)
            ),
        ),
        *leave,
    ]


def describe(status: Status | None) -> str:
    """The state in one line."""
    if status is None:
        return "The service is not running"
    line = words.state(status.state)
    if status.problems and status.state in ("open", "waiting"):
        return f"{line.split(',')[0]} ({status.problems[0]})"
    if status.state == "running" and status.recorders:
        line += f" for {', '.join(status.recorders)}"
    return line[:1].upper() + line[1:]
