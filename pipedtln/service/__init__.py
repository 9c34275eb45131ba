"""The running bridge: its life cycle, and what it tells."""
