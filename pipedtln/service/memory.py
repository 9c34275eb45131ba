"""Remembers the devices used last, so that a restart finds the same ones."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs

from pipedtln.atomic import write_atomic

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class LastUsed:
    """Names of the microphone and the output that were used last."""

    mic: str | None = None
    output: str | None = None


class DeviceMemory:
    """Keeps :class:`LastUsed` in the user's state folder.

    A broken or unwritable file costs the memory, never the service.
    """

    def __init__(self, path: Path | None = None) -> None:
        state = Path(platformdirs.user_state_dir("pipedtln"))
        self._path = path or state / "devices.json"
        self.last = self._load()

    def remember(self, mic: str | None, output: str | None) -> None:
        """Note what is used now; None keeps what was."""
        last = LastUsed(mic or self.last.mic, output or self.last.output)
        if last == self.last:
            return
        self.last = last
        try:
            write_atomic(self._path, json.dumps(asdict(last)).encode())
        except OSError as error:
            LOG.warning("cannot remember the devices in %s: %s", self._path, error.strerror)

    def forget(self) -> None:
        """Remove the file."""
        self.last = LastUsed()
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            LOG.warning("cannot remove %s: %s", self._path, error.strerror)

    def _load(self) -> LastUsed:
        try:
            data = json.loads(self._path.read_bytes())
            mic, output = data.get("mic"), data.get("output")
        except FileNotFoundError:
            return LastUsed()
        except (OSError, ValueError, AttributeError) as error:
            LOG.warning("ignoring %s: %s", self._path, error)
            return LastUsed()
        return LastUsed(
            mic if isinstance(mic, str) else None, output if isinstance(output, str) else None
        )
