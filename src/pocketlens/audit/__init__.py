"""The audit: what is in a data set, and what is wrong with it. Each file looks for one thing; `look` asks them all."""
