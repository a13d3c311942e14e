"""Images and labels: Dataset and Split, the one decoder of image files, corrected labels, and duplicates across parts."""
