"""The engine: the plan of a run, its work units, and the Ray that makes them."""
