"""Boot one guest under QEMU and record what it sends and how it ends.

In: a bzImage, an initramfs with modules and cases, limits in the time that QEMU really had.
Out: a boot record: signed records of the verdict channel, the console's log, the end. No verdicts.
"""
