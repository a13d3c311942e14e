"""Reading what comes from outside: archives, pickles, downloads, binary files, tables, folders; and the decoded cache."""
