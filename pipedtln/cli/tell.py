"""How setup and teardown speak: with colour and a spinner on a terminal, else in plain lines."""

from __future__ import annotations

import click
from rich.console import Console
from rich.markup import escape
from rich.status import Status


class ConsoleTeller:
    """Prints each step before and after; implements :class:`pipedtln.install.story.Teller`."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._live: Status | None = None
        self._title = ""

    def begin(self, title: str) -> None:
        """Tell what is being done."""
        self._title = title
        if self._console.is_terminal:
            self._live = self._console.status(f"{escape(title)} ...")
            self._live.start()
        else:
            click.echo(f"{title} ...")

    def end(self, result: str) -> None:
        """Tell how it went; nothing to tell means nothing to do."""
        if self._console.is_terminal:
            self._stop()
            if result:
                self._console.print(f"[green]✓[/] {escape(self._title)}: {escape(result)}")
        else:
            click.echo(f"  {result or 'nothing to do'}")

    def fail(self) -> None:
        """Tell that the step failed; its error is printed by the caller's caller."""
        if self._console.is_terminal:
            self._stop()
            self._console.print(f"[red]✗[/] {escape(self._title)}")
        else:
            click.echo("  failed")

    def note(self, text: str) -> None:
        """Tell something the user should know."""
        if self._console.is_terminal:
            self._console.print(f"[yellow]![/] {escape(text)}")
        else:
            click.echo(f"  note: {text}")

    def progress(self, label: str, done: int, total: int | None) -> None:
        """Show how far a download is, on a terminal only."""
        if self._live is not None:
            share = f"{100 * done // total} %" if total else f"{done / 1e6:.1f} MB"
            self._live.update(f"{escape(self._title)} ... {escape(label)} {share}")

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
