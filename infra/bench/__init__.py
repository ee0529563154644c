"""Benchmarks of the engine against what one would write by hand; `make bench` runs them. See README.md beside this."""
