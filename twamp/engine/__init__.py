"""Runs the C engine in threads of Python, and reads the clocks of network cards.

native             the engine's functions, errors and structs; no other package imports ``_native``
session_sender     one test session's sending end
session_source     how a measurement gets its sessions, whichever protocol sets them up
sample_table       the samples of a session in C's memory, and their columns computed in C
session_reflector  the reflecting end of many sessions
statistics         the counters of a Session-Reflector
workers            several Session-Reflectors that serve as one
privileges         gives up root, but for a few capabilities
device             what a network device can stamp, set and restored
phc                a network card's clock, read beside the system clock
clock_model        the line between those two clocks
stamping           all of that for one interface, while it lasts
"""
