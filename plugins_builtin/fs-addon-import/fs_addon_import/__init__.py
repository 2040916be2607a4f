"""Adopt a model trained with another program, and write one that it can open."""
