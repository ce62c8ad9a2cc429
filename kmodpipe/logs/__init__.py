"""Parse what a guest printed: kernel log, crash reports, KTAP and the records of its cases.

In: bytes of a console, or records of the verdict channel; vmlinux and modules for their symbols.
Out: reports with titles and decoded traces, subtests, case records. Memory is bounded. No verdicts.
"""
