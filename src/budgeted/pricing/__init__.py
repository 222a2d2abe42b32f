"""What a call costs and at most could cost: prices, rates, types of tokens, and how many tokens a request has.

What providers call all that in their requests and answers is read in :mod:`budgeted.wire`.
"""
