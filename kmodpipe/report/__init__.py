"""Reports of a run, for people and for other programs: pure functions of `kmodpipe.results`, except `save`.

    junit      JUnit XML, for CI systems
    html       the report as one HTML file
    timeline   the picture in it that shows when each step and each guest ran
    terminal   the tables at the end of a run
    findings   every case and every claim, as a Markdown page
    compare    the differences between two runs, or two series of one run
    summary    a run or a comparison as blocks of text, which `markup` renders
    markup     render blocks as plain text, Markdown or the body of a mail
    mail       a reply to the patch mail, for the mailing list
    wording    signs, counts and the verdict on a series, shared by the others
    rerun      the command that runs one result again

In: a `Run`. Out: text; `invoke report` and the end of a run print or write it.
"""
