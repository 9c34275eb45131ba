"""A clean virtual microphone for Linux desktops.

Importing this package loads no audio library and starts nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipedtln.processor import Processor

# From 1.29 on onnxruntime tells its maker what is run, and keeps an identifier of the machine in
# the user's cache (https://github.com/microsoft/onnxruntime/pull/27379). It asks once, when it is
# loaded, whoever loads it: here, so that no other place can be too late.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

__all__ = ["__version__", "load_processor"]


def load_processor(name: str = "auto", *, threads: int = 1, pipeline: bool = False) -> Processor:
    """Make a streaming processor by model name.

    Parameters
    ----------
    name : a name of ``models/manifest.toml`` (``pipedtln models list``), or ``"auto"``
    threads : threads that one inference may use
    pipeline : use a second core at the price of one hop of delay

    Raises
    ------
    ModelError
        If the name is unknown or its weights are not on this machine.
    """
    from pipedtln.dtln import load_processor as load

    return load(name, threads=threads, pipeline=pipeline)
