"""What providers report that a call used, each in its own shape, as one kind of counts.

A file for each maker of a shape: what it reads, and what it knows and does not need. Whatever number is in a report
besides is named in :attr:`budgeted.pricing.usage.Usage.unread`, so that no dimension of a price is dropped in silence.
A report that makes no sense (negative, text, parts larger than the whole) is no report.
"""

from budgeted.wire.usage_report_formats.report_detection import read_usage as read_usage
from budgeted.wire.usage_report_formats.report_detection import report_in as report_in
from budgeted.wire.usage_report_formats.unread_numbers import MOST_TOKENS as MOST_TOKENS
