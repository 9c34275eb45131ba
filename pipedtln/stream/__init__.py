"""Blocks between clocks: rings, alignment, drift, and the engine that runs a processor."""
