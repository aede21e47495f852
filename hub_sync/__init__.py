"""Reaching a Hub: the local store, a folder that follows the Hugging Face Hub's rules, and its server."""
