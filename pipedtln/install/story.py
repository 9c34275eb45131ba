"""Setup from the first step to the last, and teardown back; told while it happens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pipedtln.config import load
from pipedtln.errors import InstallError, PipedtlnError
from pipedtln.install.defaults import SetDefaults
from pipedtln.install.desktop import InstallDropIns, MakeDevices
from pipedtln.install.files import take_file, take_link
from pipedtln.install.journal import Journal, only_one
from pipedtln.install.launch import AddToDesktop
from pipedtln.install.models import FetchModels
from pipedtln.install.prepare import FindServer, WriteConfig
from pipedtln.install.service import InstallService, Prove, StartService
from pipedtln.install.step import Scene, Step, Voice, Wish

STEPS: tuple[Step, ...] = (
    FindServer(),
    FetchModels(),
    WriteConfig(),
    InstallDropIns(),
    MakeDevices(),
    SetDefaults(),
    InstallService(),
    StartService(),
    AddToDesktop(),
    Prove(),
)
"""What setup does, in this order; teardown undoes it in the reverse one."""


class Teller(Voice, Protocol):
    """A voice that also tells where the story is."""

    def begin(self, title: str) -> None:
        """A step begins."""

    def end(self, result: str) -> None:
        """It is done."""

    def fail(self) -> None:
        """It was not done; the error follows."""


def rehearse(wish: Wish, voice: Voice, steps: Sequence[Step] = STEPS) -> list[str]:
    """What setup would do, step by step.

    Raises
    ------
    PipedtlnError
        If setup could not even begin.
    """
    scene = _scene(wish, voice)
    return [step.describe(scene) for step in steps if _wanted(step, scene)]


def setup(wish: Wish, teller: Teller, steps: Sequence[Step] = STEPS) -> Scene:
    """Do every step; doing it again, also after an interruption, completes it.

    Raises
    ------
    PipedtlnError
        Of the first step that failed; what was done before it stays, and teardown undoes it.
    """
    with only_one():
        scene = _scene(wish, teller)
        for step in steps:
            if not _wanted(step, scene):
                continue
            teller.begin(step.title)
            try:
                result = step.do(scene)
            except BaseException:
                teller.fail()
                raise
            teller.end(result)
    return scene


def teardown(wish: Wish, teller: Teller, steps: Sequence[Step] = STEPS) -> bool:
    """Undo what setup did, the last step first; what fails is left for the next teardown.

    Returns
    -------
    Whether there was anything to undo.

    Raises
    ------
    PipedtlnError
        Of the first step that could not be undone, after all others were.
    """
    failed: list[PipedtlnError] = []
    something = False
    with only_one():
        scene = Scene(Journal.open(), wish, teller)
        for step in reversed(steps):
            if not step.undo_title:
                continue
            teller.begin(step.undo_title)
            try:
                result = step.undo(scene)
            except PipedtlnError as error:
                teller.fail()
                failed.append(error)
                continue
            except BaseException:
                teller.fail()
                raise
            teller.end(result or "")
            something = something or result is not None
        if not failed:
            _undo_leftovers(scene)
        scene.journal.tidy()
    if len(failed) > 1:
        raise InstallError(
            "; ".join(dict.fromkeys(map(str, failed))) + "; then run 'pipedtln teardown' again"
        )
    if failed:
        raise failed[0]
    return something


def _scene(wish: Wish, voice: Voice) -> Scene:
    # The service has an environment of its own: only the file and the wish count here.
    config = load(environment={}, options=wish.settings)
    return Scene(Journal.open(), wish, voice, config)


def _wanted(step: Step, scene: Scene) -> bool:
    on_cards = scene.config.backend == "portaudio"
    return not (step.needs_server and on_cards) and step.wanted(scene)


def _undo_leftovers(scene: Scene) -> None:
    """Files and links of steps that this release no longer has."""
    for deed in reversed(scene.journal.deeds):
        if deed["kind"] == "file":
            take_file(scene.journal, Path(deed["name"]))
        elif deed["kind"] == "link":
            take_link(scene.journal, Path(deed["name"]))
        else:
            scene.journal.forget(deed)
