"""Kernel reports of every kind in the forms of kernels 4.19 to 7.0 and of four architectures, as this project
writes them after the kernel's formats: `kinds` says what there is, `forms` how a kernel prints it."""
