"""A trained classifier at work: prediction, test-time augmentation, export, and a local server."""
