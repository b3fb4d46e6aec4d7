import numpy as np
import open_clip
import pytest

from farm.mini.tokenizer import encode, make_vocab, read_merges, write_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"), 8000)


@pytest.mark.parametrize("text", ["a photo of wood with a hole", "the red and white paper", "A photo of  glass, 12!"])
def test_common_words_have_clips_own_ids(tokenizer, text):
    theirs = open_clip.SimpleTokenizer()(text)[0].numpy()
    words = theirs[1 : theirs.argmax()]
    ours = encode(tokenizer, [text])[0].numpy()
    assert words.max() < 8000 + 512, "the example uses a merge that the small vocabulary leaves out"
    assert ours[0] == len(tokenizer) - 2
    np.testing.assert_array_equal(ours[1 : 1 + len(words)], words)
    assert set(ours[1 + len(words) :]) == {len(tokenizer) - 1}


def test_a_rare_word_falls_into_known_pieces(tokenizer):
    ids = tokenizer("discoloration knitted grooves").input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == "discolorationknittedgrooves"


def test_long_captions_are_cut_at_77_and_still_end(tokenizer):
    ids = encode(tokenizer, ["photo " * 200])[0]
    assert ids.shape == (77,)
    assert ids[-1] == len(tokenizer) - 1


def test_the_vocabulary_counts_bytes_twice_merges_and_two_ends():
    vocab = make_vocab(read_merges(100))
    assert len(vocab) == 2 * 256 + 100 + 2
    assert vocab["in"] == 512  # CLIP's first merge
