"""An attack on the promise: kill anything at any moment, resume, and the dataset is the undisturbed one, byte for byte.

    python -m tests.chaos --trials 50 --seed 1

A trial is a scenario drawn from (seed, trial): a store, a cluster, and blows at random points of progress. It plays
against the command line only, and its run folder is compared with one that nothing disturbed.
"""
