"""Compile kernels, modules and the guest's root file system in steps with chained keys.

In: applied trees, configurations, recipes of images/builder, a runtime (Docker or host).
Out: artifacts of the cache, or a compile error with file and line.
"""
