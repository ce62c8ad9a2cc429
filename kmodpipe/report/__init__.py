"""What others read of a run. Every writer is a pure function of `kmodpipe.results`.

junit      JUnit XML, for CI systems
html       the report as one HTML file
timeline   its picture of what was done when
terminal   the end of a run on the screen
findings   each case and each claim, as one Markdown page
words      signs, counts and the verdict on a series, for all of them
again      the command that runs a result again
"""
