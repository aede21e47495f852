"""Arithmetic whose last bit shows neither order, nor threads, nor the machine.

sums, wholesums   sums on a fixed grid, in floats and in whole numbers
gram              inner products
blas              LAPACK on one thread
scratch           the memory that all of it is done in
"""
