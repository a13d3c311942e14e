"""Using a trained classifier: prediction, test-time augmentation, export, and a local server."""
