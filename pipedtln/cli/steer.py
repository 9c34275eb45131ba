"""``pipedtln set``, ``get``, ``bypass`` and ``mute``: change the running service, and ask it."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

import click

from pipedtln.config import KEYS, Key, Value, find_key, parse

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from pipedtln.control.client import BridgeClient

_SWITCH = click.Choice(["on", "off", "toggle"])


def _complete_key(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [
        CompletionItem(key.name, help=key.help)
        for key in KEYS.values()
        if key.name.startswith(incomplete)
    ]


def _key_help(key: Key) -> str:
    """A key and what it is for, in lines that fit a terminal where click indents them by two."""
    width = max(map(len, KEYS)) + 2
    return textwrap.fill(
        f"{key.name:<{width}}{key.help}",
        78,
        initial_indent="  ",
        subsequent_indent=" " * (width + 2),
    )


@click.command(
    "set",
    epilog="""\
\b
Examples:
  pipedtln set strength 80         let a little of the room through
  pipedtln set mic auto            follow the default microphone again
  pipedtln set model auto --now-only
"""
    + "\n\b\nKeys:\n"
    + "\n".join(map(_key_help, KEYS.values())),
)
@click.argument("key", metavar="KEY", shell_complete=_complete_key)
@click.argument("value", metavar="VALUE")
@click.option("--now-only", is_flag=True, help="Do not keep it for the next start.")
def set_(key: str, value: str, now_only: bool) -> None:
    """Change a setting while the service runs.

    Apps that record hear no gap. The setting is kept in the config file too; without a running
    service it is only kept.
    """
    name = find_key(key).name
    wanted = parse(name, value)
    from pipedtln.control.wire import NotRunningError

    try:
        _change(name, wanted, keep=not now_only)
    except NotRunningError as error:
        if now_only:
            raise
        from pipedtln.configfile import save_key

        save_key(name, wanted)
        _say(name, wanted)
        click.echo(f"Kept for the next start: {error}", err=True)


@click.command(
    epilog="""\
\b
Examples:
  pipedtln get                     every setting
  pipedtln get strength            one value, for scripts
  pipedtln get --json
"""
)
@click.argument("key", metavar="[KEY]", required=False, shell_complete=_complete_key)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def get(key: str | None, as_json: bool) -> None:
    """Show a setting, or all of them.

    The running service is asked; without one, the config file and the environment.
    """
    chosen: Key | None = find_key(key) if key else None
    settings = _settings()
    if chosen is not None:
        value = settings[chosen.name]
        click.echo(json.dumps(value) if as_json else _words(value))
    elif as_json:
        click.echo(json.dumps(settings, indent=2))
    else:
        width = max(map(len, settings))
        for name, value in settings.items():
            click.echo(f"{name:<{width}}  {_words(value)}")


@click.command(
    epilog="""\
\b
Examples:
  pipedtln bypass toggle           compare with the bare microphone
  pipedtln bypass off
"""
)
@click.argument("switch", type=_SWITCH)
@click.option("--now-only", is_flag=True, help="Do not keep it for the next start.")
def bypass(switch: str, now_only: bool) -> None:
    """Let the microphone through unprocessed, or not."""
    _switch("bypass", switch, keep=not now_only)


@click.command(
    epilog="""\
\b
Examples:
  pipedtln mute on                 apps hear silence
  pipedtln mute toggle             good for a keyboard shortcut
"""
)
@click.argument("switch", type=_SWITCH)
@click.option("--now-only", is_flag=True, help="Do not keep it for the next start.")
def mute(switch: str, now_only: bool) -> None:
    """Send silence to every app, or not."""
    _switch("muted", switch, keep=not now_only)


def _switch(key: str, switch: str, *, keep: bool) -> None:
    if switch != "toggle":
        _change(key, switch == "on", keep=keep)
        return
    from pipedtln.control.client import ask

    async def toggle(client: BridgeClient) -> bool:
        value = not (await client.settings())[key]
        await client.set(key, value, keep=keep)
        return value

    _say(key, ask(toggle))


def _change(key: str, value: Value, *, keep: bool) -> None:
    from pipedtln.control.client import ask

    async def change(client: BridgeClient) -> None:
        await client.set(key, value, keep=keep)

    ask(change)
    _say(key, value)


def _settings() -> dict[str, Value]:
    from pipedtln.control.client import BridgeClient, ask
    from pipedtln.control.wire import NotRunningError

    try:
        said = ask(BridgeClient.settings)
    except NotRunningError:
        from dataclasses import asdict

        from pipedtln.config import load

        return asdict(load())
    return {name: said[name] for name in KEYS if name in said}


def _say(key: str, value: Value) -> None:
    click.echo(f"{key} = {_words(value)}")


def _words(value: Value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
