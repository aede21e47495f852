"""The streaming engine: a cohort of any size is measured, ranked and fused span by span.

spans, crews               what the work is cut into, and who does it
sources                    what is fused, read by range
measuring, ranking, radix  the passes that find out what a rule wants to know
summing, fusing            the last pass, from inputs to a checkpoint
accumulator, accumulated   a running sum on disk, and its file
"""
