"""A machine that is simulated: its disk, its clock, and processes that are switched, killed and stopped by a seed.

The journal's modules run unchanged; what they ask the system for is answered by :mod:`proof.simulation.system`.
"""
