"""LoRA adapters, fused as the products that their factors stand for.

config, fit, adapters   an adapter's files, which tensors they change, and by how much
source                  an adapter as a contribution
lowrank, refactoring    a fused delta as an adapter again
"""
