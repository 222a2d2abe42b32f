"""The balances of accounts: one protocol, one decision who gets how much, and a folder per place where they are kept.

A ledger sees ids of limits, amounts and boundaries of periods; calendars, model names and prices are its callers'.
"""
