"""Steps on pairs, readers of sources, and the models that they run. An operator lives in the folder of what it does
to a pair."""
