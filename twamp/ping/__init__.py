"""The measuring program, twping."""
