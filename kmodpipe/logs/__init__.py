"""Read what a guest printed: kernel log, crash reports, KTAP, the record of each case.

In: the bytes of a console or of the verdict channel, bounded; vmlinux and modules for symbols.
Out: reports with titles and decoded traces, subtests, case records. No verdicts.
"""
