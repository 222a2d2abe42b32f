"""What systems do differently: files, their locks, processes, forks. One module for each, with the same functions.

Nothing else in the package asks which system it runs on.
"""
