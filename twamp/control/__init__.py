"""TWAMP-Control over TCP, both ends."""
