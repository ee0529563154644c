"""`xprompt doctor`: will a task run on this machine and cluster? A file for each subject that is looked at."""
