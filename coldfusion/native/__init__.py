"""Inner loops in C, which give the bytes that the numpy code beside them gives, sooner.

They are compiled when the package is installed, if there is a C compiler. Without one, with other dtypes, or
with COLDFUSION_NATIVE=0, everything is computed by numpy.
"""
