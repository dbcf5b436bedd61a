"""The C engine, lent its threads, and the clocks of network cards."""
