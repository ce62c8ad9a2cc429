"""Check what this machine has, and install what it lacks.

In: the machine, the declared trees, the recipe of the builder image.
Out: findings with a fix for each problem (`doctor`); an installed engine and builder image (`setup`).
"""
