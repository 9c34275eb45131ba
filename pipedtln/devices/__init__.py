"""The virtual devices and the choice of the real ones; nothing else touches modules."""
