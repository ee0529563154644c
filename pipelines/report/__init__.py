"""What a user is told: the plan's estimate, the live line, the report of a run, the forecast of a
recipe; and what Prometheus is told."""
