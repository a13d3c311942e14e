"""Reading what comes from outside: archives, pickles, downloads, binary files, tables, trees; and the decoded cache."""
