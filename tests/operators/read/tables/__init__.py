"""Tests of tables of pairs, by format."""
