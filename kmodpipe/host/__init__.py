"""Find out what this machine has, and install what it lacks.

In: the machine, the declared trees, the builder's recipes.
Out: findings with the command that mends each; an installed engine and builder image.
"""
