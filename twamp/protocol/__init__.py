"""TWAMP-Control and TWAMP-Test without sockets, clocks or randomness."""
