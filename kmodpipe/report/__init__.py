"""What others read of a run. All but `command` is made of pure functions of `kmodpipe.results`.

junit      JUnit XML, for CI systems
html       the report as one HTML file
timeline   its picture of what was done when
terminal   the end of a run on the screen
findings   each case and each claim, as one Markdown page
compare    two runs, or two series, side by side
story      what there is to say of them, as blocks
blocks     blocks as plain text, Markdown and the body of a mail
mail       a reply to the list
words      signs, counts and the verdict on a series, for all of them
again      the command that runs a result again
command    `invoke report`, and what a run tells at its end
"""
