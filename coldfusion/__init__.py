"""ColD Fusion, the method: records, deltas, codecs, fusers, screens, rounds, scores, the Hub protocol.

Nothing in this package imports torch, ray, transformers or huggingface_hub, so fusing and screening start at
once and run on a small machine (`cli` is the composition root and imports the other packages per command).

Don-Yehiya et al. 2023, "ColD Fusion: Collaborative Descent for Distributed Multitask Finetuning", ACL 2023.
"""

__version__ = "0.1.0"
