"""A CLIP tokenizer of the first N merges: the same byte-pair rules as CLIP's, a smaller embedding table.

The vocabulary is the one that open_clip's package carries. Order as in Radford et al. 2021 (arXiv 2103.00020,
released code): 256 bytes, the same 256 ending a word, one token a merge, start, end. A word whose merges all lie
among the first N encodes to CLIP's own ids; a rarer word falls into more pieces.
"""

import gzip
import json
from pathlib import Path
from typing import Any

CONTEXT = 77
START, END = "<|startoftext|>", "<|endoftext|>"


def read_merges(count: int) -> list[str]:
    """The first ``count`` merges of open_clip's BPE file, in order ("t h")."""
    import open_clip

    path = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    return lines[1 : count + 1]


def make_vocab(merges: list[str]) -> dict[str, int]:
    """Token -> id for ``merges``: bytes, bytes that end a word, merges, start and end (two highest ids)."""
    from open_clip.tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    tokens = letters + [letter + "</w>" for letter in letters]
    tokens += ["".join(merge.split()) for merge in merges] + [START, END]
    return {token: index for index, token in enumerate(tokens)}


def write_tokenizer(folder: Path, count: int, context: int = CONTEXT) -> Any:
    """Write a ``transformers`` CLIPTokenizer folder of ``count`` merges; returns the tokenizer, loaded from it."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    merges = read_merges(count)
    (folder / "vocab.json").write_text(json.dumps(make_vocab(merges), ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": context,
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
        "do_lower_case": True,
        "add_prefix_space": False,
        "errors": "replace",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    return CLIPTokenizer.from_pretrained(folder)


def encode(tokenizer: Any, captions: list[str], context: int = CONTEXT) -> Any:
    """(N, context) int64 token ids of ``captions``, padded and cut as the stock pipeline does."""
    return tokenizer(captions, padding="max_length", max_length=context, truncation=True, return_tensors="pt").input_ids
