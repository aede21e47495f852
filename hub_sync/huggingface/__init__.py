"""The Hugging Face Hub. The only place that imports huggingface_hub.

Its errors end here, its calls get a time limit and keep to the rate limit, reads are repeated, and a write is
repeated only after a look whether it had landed.
"""

from hub_sync.huggingface.hub import HuggingFaceHub as HuggingFaceHub
