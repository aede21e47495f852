"""A Hub of one's own: the local store over HTTP, in the wire format of the Hugging Face Hub.

The stock `huggingface_hub` client talks to it with HF_ENDPOINT and a token, and nothing else.
"""
