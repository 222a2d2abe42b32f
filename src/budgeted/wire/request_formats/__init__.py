"""What providers are asked, each in its own shape, as one kind of request: a file for each maker of a shape.

A format says what a request may cost, and writes into it what was granted. SDKs' hooks, the net at the transport and
functions with HTTP of their own read requests by the same code.
"""
