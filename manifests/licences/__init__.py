"""Licences as records with terms: which a pair is under, what they allow together, what a policy lets through."""
