"""Publishes a finished dataset on the Hugging Face hub: what its repository is to hold, and how it gets there."""
