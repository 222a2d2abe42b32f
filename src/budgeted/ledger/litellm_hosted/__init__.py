"""Budgets kept by LiteLLM's hosted protocol, and its record of a user, as which accounts are shown and taken over.

LiteLLM's methods of a manager are in :mod:`budgeted.manager.litellm_methods`.
"""
