"""What a task is, the paper's tasks as records, and their phrasings."""
