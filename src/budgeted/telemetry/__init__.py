"""What is told of calls and balances: counters, gauges, marks on spans, events, alerts and log records.

Nothing here takes part in a decision: with telemetry switched off, calls are refused all the same.
"""
