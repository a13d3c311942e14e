"""The page of a data audit, and its tables."""
