"""Calendars reckoned anew: what periods and limits in them must be, by other means than the package's own.

No fault is injected here: the calendars of the world have enough of them.
"""
