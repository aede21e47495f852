"""`coldfusion fuse`: checkpoints in, one checkpoint out, without a federation.

recipes, inputs   what is fused and how, and its files
fusing, card      the new directory, and its model card
command           what is said in the terminal
"""
