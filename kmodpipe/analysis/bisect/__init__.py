"""Find the patch, the commit or the symbols of a configuration that give a case another outcome.

model       the records of an answer, as bisect.json has them
linear      which patch of a series to try next (pure)
rates       which side a flaky case is on, and how sure that is (pure)
minimise    a smallest set of symbols, by delta debugging (pure)
probe       run a case in a state of the source and configuration
ends        try both ends, and choose the case and the cell
search      the steps between the ends, with what is left to do
patches, commits, symbols    the three questions
wording     the answer in words
"""
