"""Tables of pairs, by format: each lists its rows without reading images, and reads one row again."""
