"""One file a format that `xprompt export` writes. Each names the code that reads it, with repository and commit."""
