"""Continuous measurement of one or many targets."""
