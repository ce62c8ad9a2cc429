"""Turn what guests observed into verdicts. Pure, except for reading the cases' files.

In: cases with expected outcomes, boot records, kernel reports.
Out: one result for every planned case, with the reason; dead axes.
"""
