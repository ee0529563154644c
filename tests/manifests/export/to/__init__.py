"""Tests of the formats of `xprompt export`: each by its reader, or by one that follows what its loader reads."""
