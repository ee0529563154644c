"""Tasks and sources as records, and the engine that makes datasets of them on Ray."""
