"""Dashboards and alerts as files, for the metrics of :mod:`budgeted.telemetry.instruments` as Prometheus names them.

What emits these metrics is in :mod:`budgeted.telemetry`.
"""
