"""What the monitor's menus offer, and the menu itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

Offer = Callable[[], Sequence[tuple[str, str]]]
"""Values of a setting with their descriptions; may take a moment, may raise PipedtlnError."""

_AUTO = ("auto", "choose by itself")


def microphones() -> Sequence[tuple[str, str]]:
    """Real microphones of this desktop.

    Raises
    ------
    ServerError
        If no sound server answers.
    """
    from pipedtln.audio.server import connect
    from pipedtln.devices.listing import list_sources

    with connect() as pulse:
        sources = [one for one in list_sources(pulse, monitors=False) if not one.ours]
    return [_AUTO, *((source.name, source.description) for source in sources)]


def models() -> Sequence[tuple[str, str]]:
    """Networks whose weights are on this machine.

    Raises
    ------
    ModelError
        If the manifest cannot be read.
    """
    from pipedtln.dtln.manifest import load_manifest
    from pipedtln.dtln.store import Store

    store = Store.from_environment()
    kinds = {"aec": "cancels echo and noise", "ns": "suppresses noise"}
    return [
        _AUTO,
        *(
            (name, f"{kinds.get(model.kind, model.kind)}, {model.units} units, {model.precision}")
            for name, model in load_manifest().models.items()
            if store.find(model)
        ),
    ]


class Menu(ModalScreen[str | None]):
    """A list of values to choose from; Escape leaves all as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Back")]
    DEFAULT_CSS = """
    Menu { align: center middle; }
    Menu > Vertical {
        width: 72; max-width: 95%; height: auto; max-height: 90%;
        border: solid $foreground; background: $surface; padding: 0 1;
    }
    Menu OptionList { height: auto; max-height: 14; border: none; }
    """

    def __init__(self, title: str, offered: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title = title
        self._offered = offered

    def compose(self) -> ComposeResult:
        """The title over the list."""
        with Vertical():
            yield Label(self._title, markup=False)
            yield OptionList(
                *(Option(f"{value}  ({says})") for value, says in self._offered), markup=False
            )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Close with the chosen value."""
        self.dismiss(self._offered[event.option_index][0])

    def action_leave(self) -> None:
        """Close without a choice."""
        self.dismiss(None)
