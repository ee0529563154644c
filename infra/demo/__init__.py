"""`xprompt demo`: a small trained tokenizer and model, and the way from photos to a picture of their answers."""
