"""Any sequence of verbs against a plain model: the same answers, the same balances."""

from __future__ import annotations

from hypothesis import settings
from ledger_machine import machine

TestMemory = machine("memory").TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=30)
TestSliced = machine("sliced").TestCase
TestSliced.settings = settings(max_examples=60, stateful_step_count=30)
TestJournal = machine("journal").TestCase
TestJournal.settings = settings(max_examples=30, stateful_step_count=30)
TestWholeJournal = machine("whole-journal").TestCase
TestWholeJournal.settings = settings(max_examples=10, stateful_step_count=30)
TestSQLite = machine("sqlite").TestCase
TestSQLite.settings = settings(max_examples=10, stateful_step_count=30)
TestRedis = machine("redis").TestCase
TestRedis.settings = settings(max_examples=15, stateful_step_count=30)
