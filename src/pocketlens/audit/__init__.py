"""What is in the data and what is wrong with it, and what augmentations do to it: facts for the pages to show."""
