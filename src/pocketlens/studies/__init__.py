"""Studies: many trainings that answer one question. A folder of trials, each a run of its own in a process of its own.

compare.py, sweep.py and search.py say which trials there are and what their scores mean; store.py keeps the folder;
running.py runs what is missing; process.py is one trial.
"""
