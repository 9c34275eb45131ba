"""Keeps the network that the user wants in the engine, and the microphone open without it."""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import TypeAlias

from pipedtln.audio.api import PERIODS
from pipedtln.config import Config
from pipedtln.errors import ModelError
from pipedtln.networks import ModelChoice, choose_model
from pipedtln.processor import HOP, MOST_BATCH
from pipedtln.stream.failopen import FailOpen

LOG = logging.getLogger(__name__)

RETRY_S = 5.0
"""Seconds between two looks for weights that were not there; a look costs little."""


_Need: TypeAlias = tuple[str, bool, int, bool, int]


class Network:
    """Loads networks into a :class:`FailOpen`; loading blocks, so it is for a thread."""

    def __init__(self, processing: FailOpen) -> None:
        self._processing = processing
        self._lock = threading.Lock()
        self._choice = ModelChoice(None, None, None)
        self._loaded_for: _Need | None = None
        self._retry_at = 0.0

    @property
    def name(self) -> str | None:
        """Name of the network in use."""
        return self._choice.name

    @property
    def problem(self) -> str | None:
        """Why the microphone goes through unprocessed, or None."""
        return self._choice.problem or self._processing.problem

    def wants_loading(self, config: Config) -> bool:
        """Whether :meth:`load` has something to do for these settings now."""
        missing = self._choice.problem is not None and monotonic() >= self._retry_at
        return missing or self._loaded_for != _need(config)

    def load(self, config: Config) -> None:
        """Load what the settings name; a failure lets the microphone through and says why."""
        with self._lock:
            need = _need(config)
            try:
                choice = choose_model(*need[:3], pipeline=need[3], batch=need[4])
            except ModelError as error:
                choice = ModelChoice(None, None, str(error))
            before, self._choice, self._loaded_for = self._choice, choice, need
            self._retry_at = monotonic() + RETRY_S
            if choice.problem != before.problem and choice.problem is not None:
                LOG.error("the microphone goes through unprocessed: %s", choice.problem)
            if choice.processor is not None:
                LOG.info("network: %s", choice.name)
            elif before.processor is None and before.problem == choice.problem:
                return
            self._processing.use(choice.processor, choice.problem)


def _need(config: Config) -> _Need:
    """What decides about the network: name, whether there is a reference, threads, pipeline, and
    how many hops come at a time."""
    batch = min(PERIODS[config.latency] // HOP, MOST_BATCH)
    return config.model, config.reference != "none", config.threads, config.pipeline, batch
