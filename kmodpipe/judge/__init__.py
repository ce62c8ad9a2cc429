"""Turn what a guest said into verdicts. Pure: no I/O but reading the cases' files.

In: cases with expected outcomes, boot records, kernel reports.
Out: one result for every planned case, with the reason.
"""
