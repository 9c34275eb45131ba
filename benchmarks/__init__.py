"""Measurements of pipedtln, each one command; results in docs/."""
