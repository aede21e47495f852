"""Scripts that do with other tools, or by hand, what our fusers do: to compare values and costs.

Each runs as a file of its own, in the interpreter that has the tool, and imports nothing of ours.
"""
