"""What the commands share: options, the screen, progress, signals, and where trials run."""
