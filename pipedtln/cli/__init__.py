"""The command line: parse, call one function, print."""

from pipedtln.cli.main import main

__all__ = ["main"]
