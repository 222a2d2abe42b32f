"""Events sent out of the process: to which URLs, as what, signed how, and kept until they are taken.

Nothing here is started, read or written where no ``alerts_to`` is set.
"""
