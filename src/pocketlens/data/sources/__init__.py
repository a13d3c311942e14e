"""Readers of foreign files: archives, pickles, binary files, tables, folders; downloads; the cache of decoded data."""
