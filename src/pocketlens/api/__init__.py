"""One typed call for each command: the command line, `auto` and Python all go through here."""
