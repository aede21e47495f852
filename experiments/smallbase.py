"""A small encoder made on the spot: the words of some text as its vocabulary, and a two-layer BERT."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def make_base(
    folder: Path, texts: Iterable[str], *, seed: int, hidden: int = 128, vocabulary: int = 8000
) -> None:
    """Write an untrained encoder with its tokenizer into `folder`, as `from_pretrained` opens it."""
    tokenizer = _tokenizer(texts, vocabulary)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=4 * hidden,
        max_position_embeddings=128,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    normalizer, splitter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words = Counter(
        word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
    )
    pieces = _pieces(words, vocabulary)
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, SPECIAL.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=128,
        **{f"{token.strip('[]').lower()}_token": token for token in SPECIAL},
    )


def _pieces(words: Mapping[str, int], size: int) -> list[str]:
    """A WordPiece vocabulary: every character, first in a word and inside one, and the most frequent words.

    The same words give the same list in any process; the trainer of `tokenizers` breaks its ties at random.
    """
    letters = sorted({letter for word in words for letter in word})
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    longer = sorted((word for word in words if len(word) > 1), key=lambda word: (-words[word], word))
    return [*pieces, *longer[: max(0, size - len(pieces))]]
