"""The pages of `pocketlens open`: an index of a folder of runs, and a page that follows one training while it runs."""
