"""What requests, answers, streams and failures of providers look like, whichever SDK or transport they come by.

Nothing here holds or charges anything: that is done in :mod:`budgeted.metering`, with what is read here.
"""
