"""Asking a vision-language model: prompts, requests, stored answers, and the ways to a server or a local model. What
is asked lives with the operators."""
