"""Text encoders with random weights, and real tokenizers of small vocabularies."""

from __future__ import annotations

import string

VOCABULARY = ("a", "red", "blue", "house", "cat", "of", "two", "boats", "painting")
LENGTH = 16


def clip_tokenizer():
    """Byte-pair encoding whose merges know single letters only: one token per character."""
    from transformers import CLIPTokenizer

    letters = [*string.ascii_lowercase, *string.digits]
    marks = ["<|startoftext|>", "<|endoftext|>"]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *marks]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=LENGTH)


def t5_tokenizer():
    """A unigram model of a few words and all letters."""
    from transformers import T5Tokenizer

    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    words = [(f"▁{word}", -1.0) for word in VOCABULARY]
    letters = [(letter, -5.0) for letter in string.ascii_lowercase]
    return T5Tokenizer(vocab=[*special, *words, *letters], extra_ids=0, model_max_length=64)


def gemma_tokenizer():
    """Byte-pair encoding without merges: one token per character."""
    from transformers import GemmaTokenizer

    special = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁")
    tokens = [*special, *string.printable.strip()]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    return GemmaTokenizer(vocab=vocabulary, merges=[], model_max_length=8192)


def gemma(hidden: int):
    from transformers import Gemma2Config, Gemma2Model

    size = len(gemma_tokenizer().get_vocab())
    return Gemma2Model(
        Gemma2Config(
            vocab_size=size,
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=8,
        )
    )


def clip(hidden: int, projected: bool = False):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    size = len(clip_tokenizer().get_vocab())
    config = CLIPTextConfig(
        vocab_size=size,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        projection_dim=hidden,
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def t5(hidden: int):
    from transformers import T5Config, T5EncoderModel

    size = len(t5_tokenizer().get_vocab())
    return T5EncoderModel(
        T5Config(vocab_size=size, d_model=hidden, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    )
