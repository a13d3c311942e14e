"""Readers of foreign files: archives, pickles, binary files, tables, folder trees; downloads; the decoded cache."""
