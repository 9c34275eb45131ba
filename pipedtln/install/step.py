"""What every step of setup looks like, and what steps share while setup or teardown runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from pipedtln.audio.server import ServerInfo
from pipedtln.config import Config, Value
from pipedtln.install.journal import Deed, Journal


@dataclass(frozen=True)
class Wish:
    """What the user asked setup or teardown for."""

    settings: Mapping[str, Value] = field(default_factory=dict)
    """Keys of the config given as options."""
    set_default: bool = False
    service: bool = True
    tray: bool = False
    purge: bool = False


class Voice(Protocol):
    """Where steps tell what happens; the command line prints it."""

    def note(self, text: str) -> None:
        """Something the user should know: what stayed, what to do by hand."""

    def progress(self, label: str, done: int, total: int | None) -> None:
        """How far a long action got, in bytes."""


@dataclass
class Scene:
    """What steps share; earlier ones leave here what later ones need."""

    journal: Journal
    wish: Wish
    voice: Voice
    config: Config = field(default_factory=Config)
    server: ServerInfo | None = None
    changed: bool = False
    """Whether a running service has to be restarted to see what setup did."""

    def deeds(self, step: Step) -> list[Deed]:
        """What the step did by the journal, the last first."""
        return [deed for deed in reversed(self.journal.deeds) if deed.get("step") == step.name]


class Step(ABC):
    """One thing that setup does and teardown undoes.

    Doing or undoing twice is harmless, and either may be interrupted anywhere: what a step does
    is noted in the journal before.
    """

    name: ClassVar[str]
    """Stands in the journal; never changes."""
    title: ClassVar[str]
    """What is done, as an order."""
    needs_server: ClassVar[bool] = False
    """Whether it is left out where bare cards are to be bridged."""
    undo_title: ClassVar[str] = ""
    """The same for undoing; empty for a step that leaves nothing behind."""

    def wanted(self, scene: Scene) -> bool:
        """Whether the user's wish and the machine call for it."""
        return True

    @abstractmethod
    def describe(self, scene: Scene) -> str:
        """What doing it would mean here, for a dry run.

        Raises
        ------
        PipedtlnError
        """

    @abstractmethod
    def do(self, scene: Scene) -> str:
        """Do it and tell the result in a few words.

        Raises
        ------
        PipedtlnError
        """

    def undo(self, scene: Scene) -> str | None:
        """Undo what the journal holds; tell the result, or None if there was nothing.

        Raises
        ------
        PipedtlnError
            If it could not be undone; the journal keeps it for the next teardown.
        """
        return None
