"""X-Prompt on Chameleon: in-context image generation by an auto-regressive vision-language model (arXiv 2412.01824).

Vocabulary and layout make a training example into tokens, batch and mask make tokens into a packed micro-batch, model
computes its loss, vqgan turns images into tokens and back, generate uses it all. Imports nothing else of ours.
"""
