"""Boot one guest under QEMU and record what it said.

In: a bzImage, an initramfs with modules and cases, limits in guest time.
Out: a boot record: signed records of the verdict channel, console, how it ended. No verdicts.
"""
