"""Figures as text, JSON, rows and plots.

units       the unit of times, and numbers as text
text        the summary of a run, in the reference's lines and our own
packets     a run packet by packet: raw rows (-R) and lines (-v)
perfsonar   the reference's machine-readable summary (-M)
json_tree   the tree that JSON is made of
rows        CSV and InfluxDB's line protocol
pictures    plots, in the terminal or in a file
interval    an interval of a continuous measurement, in all of these forms
saved_run   a run read again from a file
"""
