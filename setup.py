"""List the packages; everything else is in pyproject.toml.

There, packages are either found or listed, and this takes both: the rooms of kmodpipe are found; the folders
images and kconfigs at the top level, which are installed as kmodpipe/shipped/…, are listed.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["kmodpipe*"]), "kmodpipe.shipped.images", "kmodpipe.shipped.kconfigs"]
)
