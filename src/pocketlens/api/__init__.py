"""One typed call for each command, for the command line and for Python; that of `auto` is in pipeline/."""
