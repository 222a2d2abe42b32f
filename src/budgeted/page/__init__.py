"""The page: what is left of budgets, what was spent, who was refused, and what a person may do about it.

A server of ledgers and a gateway show it, by :func:`budgeted.page.application.page_routes`. It is made on the server of
templates, works without its script, and asks for nothing from elsewhere.

To add a view, write ``views/NAME.py`` with a function that is given what is asked (:class:`.asking.Asked`)
and returns what is shown (:class:`.asking.Shown`), ``templates/NAME.html`` that extends ``base.html``,
and a row in ``views/__init__.py``. What a form does is a function that returns :class:`.asking.Done`; it
raises :class:`.asking.FormError` for what cannot be done as it was sent. What is marked ``data-live`` and
has an id is replaced while it is looked at.
"""
