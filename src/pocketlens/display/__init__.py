"""What a person sees while something runs: lines, one progress bar for every kind of work, and how it is stopped."""
