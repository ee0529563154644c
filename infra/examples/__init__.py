"""Examples of what users add to the engine from outside: a task with an operator of its own."""
