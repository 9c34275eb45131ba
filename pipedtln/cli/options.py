"""Options that several commands share: one for each setting, and the config file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pipedtln.config import KEYS, Key

F = TypeVar("F", bound=Callable[..., Any])


def config_options(*names: str) -> Callable[[F], F]:
    """Decorator: an option for each of the named settings (all when none is named).

    The command receives each as a keyword argument of the key's name, None when not given; pass
    them to :func:`pipedtln.config.load` as ``options``, which checks them.
    """
    keys = [KEYS[name] for name in names] or list(KEYS.values())

    def decorate(command: F) -> F:
        for key in reversed(keys):
            command = _option(key)(command)
        return command

    return decorate


def config_file_option(command: F) -> F:
    """Decorator: ``--config PATH``, received as ``config_file`` (None when not given)."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Config file to read instead of the usual one.",
    )(command)


def _option(key: Key) -> Callable[[F], F]:
    if key.type is bool:
        return click.option(
            f"{key.option}/--no-{key.option[2:]}", key.name, default=None, help=key.help
        )
    kind: Any = key.type
    metavar = {
        "mic_channel": "CHANNEL",
        "latency_ms": "MS",
        "strength": "PERCENT",
        "threads": "N",
        "model": "MODEL",
    }.get(key.name, "NAME")
    if key.choices:
        kind, metavar = click.Choice(key.choices), "|".join(key.choices)
    return click.option(
        key.option, key.name, type=kind, default=None, metavar=metavar, help=key.help
    )
