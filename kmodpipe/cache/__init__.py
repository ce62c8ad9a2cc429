"""Keep what was fetched and built under the digest of its inputs.

In: a kind of artifact, the inputs of its key, a function that fills an empty folder.
Out: a verified, read-only folder, made here or pulled from a registry (`share`).
"""
