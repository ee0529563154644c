"""Finished datasets in the layouts that other trainers read: `xprompt export DATASET --to FORMAT --out FOLDER`.

`to/` has one file a format, `formats.py` lists them. A format says what it can carry and writes samples into a part;
all else (what is chosen, what is left out, resuming, licences, the explained sample) is the same for all of them.
"""
