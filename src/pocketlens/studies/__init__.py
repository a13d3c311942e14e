"""Studies: many trainings that answer one question, as a folder of trials, each a run of its own.

spec.py defines a study and store.py is its folder. compare.py, search.py and transfer.py say which trials there are and
what their scores mean. pool.py runs the trials that are missing, on an executor (executors.py, cluster.py).
"""
