"""The page of a study: comparisons, sweeps, searches and transfers."""
