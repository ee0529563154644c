"""A fuzzer over all that reads what others wrote: `python -m tests.fuzz --help`, or `make fuzz`."""
