"""Figures as text, JSON, rows and plots."""
