"""Images and labels: Dataset, Split, the only decoder of image files, corrected labels, duplicates across parts."""
