"""Keep what was fetched and built, by the digest of what went into it.

In: a kind, the inputs of a key, a function that fills an empty folder.
Out: a verified folder that does not change any more, from here or (`share`) from a registry.
"""
