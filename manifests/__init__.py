"""The data contract: what a dataset directory holds and how it is written, read, checked and browsed.

Everything between the engine that makes data and the trainer that eats it is in this package, and nothing else
is: it imports no other package of the project.
"""
