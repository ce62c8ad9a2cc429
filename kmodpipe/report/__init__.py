"""What others read of a run. Every writer is a pure function of `kmodpipe.results`.

junit      JUnit XML, for CI systems
terminal   the end of a run on the screen
findings   each case and each claim, as one Markdown page
"""
