"""The audit: what is in a data set, what is wrong with it, and what augmentations do to it, as facts for reports."""
