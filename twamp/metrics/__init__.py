"""Samples to figures, by pure functions."""
