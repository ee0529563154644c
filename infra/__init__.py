"""What the engine runs on and what it is measured with; nothing here is imported by the engine or the trainer."""
