"""A process that works on several ledgers for a while, in every way that calls are made and end."""
