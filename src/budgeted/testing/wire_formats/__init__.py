"""What each provider's API looks like on the wire: how a request is read, and how an answer and its stream are written.

What the answer says, and when it is sent, is decided in the package above.
"""
