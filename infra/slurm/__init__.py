"""Slurm: job scripts, and what they run on a job's nodes."""
