"""kmodpipe: for every legal Kconfig cell, what did my patch series fix, break, or leave alone?"""

__version__ = "0.2.0"
