"""Chaos: real processes under injected faults, and an account of every e-mail that was accepted."""
