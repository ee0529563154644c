"""The documents: the pages of the site (`make docs`), and what writes the parts of them that follow from the code."""
