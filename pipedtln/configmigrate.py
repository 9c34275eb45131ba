"""What the settings of each earlier format of config.toml are in the next one."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, TypeAlias

Settings: TypeAlias = MutableMapping[str, Any]
"""A plain dict, or a tomlkit document whose comments stay where they are."""

STEPS: dict[int, Callable[[Settings], None]] = {}
"""Step from a format to the next, by the former's number. Format 1 is the first: none yet."""


def migrate(settings: Settings, version: int, target: int) -> None:
    """Bring settings from one format to a later one, in place.

    Raises
    ------
    LookupError
        If a step is missing: a bug.
    """
    for step in range(version, target):
        STEPS[step](settings)


def rename(settings: Settings, old: str, new: str) -> None:
    """Let a key go by another name, if it is there."""
    if old in settings:
        settings[new] = settings.pop(old)
