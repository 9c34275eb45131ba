"""The two networks as streaming processors, their models and runtimes."""

from pipedtln.dtln.canceller import EchoCanceller
from pipedtln.dtln.loader import load_processor, locate_model
from pipedtln.dtln.suppressor import NoiseSuppressor

__all__ = ["EchoCanceller", "NoiseSuppressor", "load_processor", "locate_model"]
