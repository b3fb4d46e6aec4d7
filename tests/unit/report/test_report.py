"""The page of a synthetic run: what it says, that it adds up, that hostile text stays text, that bytes repeat."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from farm.errors import RunError
from farm.report import build_report
from farm.report.accounts import account
from farm.report.choice import choose_photos, choose_samples, wrongness
from farm.report.inputs import read_inputs
from farm.report.pictures import heat, label_area, photograph, photograph_file, target_outline
from farm.report.results import NAMES, _row, results
from farm.run_folder import RunFolder
from tests.factories import make_mask, make_png, make_run_folder, make_surface


class Page(HTMLParser):
    """Tags with their attributes, the text of each kind of tag, and all text outside script and style."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.inside, self.text, self.cells = [], [], "", []
        self.html = html
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        if tag in self.inside:
            while self.inside.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.inside):
            self.text += data + " "

    def all(self, tag, **wanted):
        return [found for name, found in self.tags if name == tag and wanted.items() <= found.items()]

    def words(self):
        return " ".join(self.text.split())


def page_of(folder, **options):
    return Page(Path(build_report(folder, **options)).read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_run_folder(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(folder):
    return page_of(folder)


def test_the_page_is_written_where_it_says_and_names_the_run(folder, page):
    url = build_report(folder, out="report/again.html")
    assert Path(url) == folder.store.local("report/again.html")
    assert Path(url).read_text() == page.html
    assert "factory" in page.words()
    assert "metal · embedded model · 64 px · seed 0" in page.words()


def test_headline_counts_and_gain(page):
    words = page.words()
    assert "Planned 24 Kept 15 62.5 % Refused 6 25.0 % Failed 3 12.5 %" in words
    assert re.search(r"Image AUROC, stage 1 → 2 0\.\d{3} → [01]\.\d{3}", words)
    assert re.search(r"Pixel AP, stage 1 → 2 0\.\d{3} → [01]\.\d{3} [+−]0\.\d{3}", words)


def test_every_sample_has_a_card_with_its_facts(folder, page):
    samples = read_inputs(folder).samples
    cards = [found for _, found in page.tags if "data-outcome" in found]
    assert len(cards) == 24
    assert sorted(card["data-outcome"] for card in cards) == ["failed"] * 3 + ["kept"] * 15 + ["refused"] * 6
    assert {card["data-method"] for card in cards} == {"rules", "background_aware"}
    assert {card["data-defect"] for card in cards} == {"scratch", "dent", "stain"}
    assert {card["data-reason"] for card in cards} == {"", "irrelevant", "near_duplicate", "area_too_small"} | {
        "background_changed"
    }
    for name in ("sample_id", "seed", "prompt"):
        assert all(str(value) in page.words() for value in samples[name])
    assert page.words().count("the decoder returned values that are not numbers") == 3 + 1  # cards and accounts


def test_pictures_are_small_decodable_and_described(page):
    images = page.all("img")
    own = [image for image in images if "src" in image]
    assert len(own) > 24 * 2
    for image in own:
        kind, data = re.fullmatch(r"data:image/(png|jpeg);base64,(.*)", image["src"]).groups()
        with Image.open(io.BytesIO(base64.b64decode(data))) as decoded:
            decoded.load()
            assert decoded.format.lower() == kind
            assert decoded.size == (int(image["width"]), int(image["height"]))
            assert decoded.width <= 128
        assert len(image["alt"]) > 8
    assert all(image.get("alt") == "" for image in images if "data-under" in image)  # the photograph below has the text


def test_a_label_lies_on_the_image_and_a_target_on_the_source(page):
    cards = re.findall(r'<li class="card" data-outcome="(?:kept|refused)".*?</li>', page.html, re.DOTALL)
    assert len(cards) == 21
    for card in cards:
        captions = re.findall(r"<figcaption>(.*?)</figcaption>", card)
        below = re.findall(r'data-under="(\d)" alt=""><img class="over"[^>]* alt="(\w+)', card)
        assert [(captions[int(place)], alt) for place, alt in below] == [("source", "outline"), ("image", "pixels")]


def test_accounts_close_by_method_and_reason(folder):
    accounts = account(read_inputs(folder))
    assert accounts.methods == ("rules", "background_aware")
    assert accounts.closes
    assert accounts.planned.total == 24
    assert accounts.planned.counts == (16, 8)
    assert [(line.outcome, line.label, line.total) for line in accounts.lines][1:5] == [
        ("refused", "irrelevant", 2),
        ("refused", "near_duplicate", 2),
        ("refused", "area_too_small", 1),
        ("refused", "background_changed", 1),
    ]
    sums = np.sum([line.counts for line in accounts.lines], axis=0)
    assert tuple(sums) == accounts.planned.counts


def test_accounts_that_do_not_close_are_called_out(tmp_path):
    folder = make_run_folder(tmp_path, rows=8, shard_rows=8, evaluated=False)
    settings = folder.store.read("run.yaml").decode()
    folder.store.write("run.yaml", settings.replace("rows: 8\n", "rows: 5\n", 1).encode())
    assert not account(read_inputs(folder)).closes
    assert "The accounts do not close." in page_of(folder).words()


def test_a_run_without_verdicts_and_detector_says_so(tmp_path):
    words = page_of(make_run_folder(tmp_path, rows=8, judged=False, evaluated=False)).words()
    assert "Not judged yet." in words
    assert "Detector not run yet" in words
    assert "Not run yet: no detector has been evaluated." in words
    assert "Not run yet: no test photograph has been scored." in words
    assert "Not run yet: no phase has been timed." not in words  # shards carry their own seconds
    assert "not judged 7" in words
    assert "Kept 0 0 %" in words


def test_a_run_of_run_yaml_alone_is_a_page_of_things_not_run_yet(tmp_path):
    made = make_run_folder(tmp_path / "made", rows=4, evaluated=False)
    bare = RunFolder(str(tmp_path / "bare"))
    bare.store.write("run.yaml", made.store.read("run.yaml"))
    words = page_of(bare).words()
    for missing in (
        "no shard of samples is finished",
        "no detector",
        "there are no samples",
        "no phase has been timed",
    ):
        assert f"Not run yet: {missing}" in words
    assert "not made yet 4 100.0 %" in words


def test_an_unfinished_run_counts_what_is_not_made(tmp_path):
    folder = make_run_folder(tmp_path, rows=20, shard_rows=8, shards=1, evaluated=False)
    accounts = account(read_inputs(folder))
    assert accounts.closes
    assert accounts.total("not made yet") == 12
    assert "8 of 20 planned samples are made." in page_of(folder).words()


def test_a_folder_that_is_no_run_folder_is_named(tmp_path):
    with pytest.raises(RunError, match=r"has no run\.yaml, so it is not a run folder"):
        build_report(RunFolder(str(tmp_path)))


def test_hostile_text_stays_text(tmp_path):
    attack = "<script>steal()</script><img src=x onerror=steal()>\" ' {{ 7*7 }} </style>"
    folder = make_run_folder(
        tmp_path, rows=8, prompt=f"scratch {attack}", photo_name="{:03d}<svg onload=x()>\"'.png", test_photos=4
    )
    page = page_of(folder)
    assert len(page.all("script")) == 1
    assert len(page.all("style")) == 1
    assert not [found for _, found in page.tags if any(name.startswith("on") for name in found)]
    assert all("src" in image or "data-under" in image for image in page.all("img"))
    assert all(image.get("src", "data:").startswith("data:") for image in page.all("img"))
    assert "<script>steal()</script>" in page.words()  # the reader sees it, as text
    assert "{{ 7*7 }}" in page.words()
    assert '<svg onload=x()>"' in page.words()


def test_nothing_is_fetched_and_only_our_script_may_run(page):
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]{44}'", policy)
    for _, found in page.tags:
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            assert found.get(name, "#").startswith(("#", "data:"))
    assert "@import" not in page.html
    assert not re.search(r"url\((?!#)", page.html)


def test_ids_and_references_of_the_page_are_whole(page):
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids))
    targets = [found["href"] for _, found in page.tags if found.get("href", "").startswith("#")]
    assert targets
    assert {target[1:] for target in targets} <= set(ids)


def test_same_folder_gives_same_bytes(tmp_path, folder):
    first = build_report(folder, out="report/first.html")
    second = build_report(RunFolder(folder.store.root), out="report/second.html")
    assert Path(first).read_bytes() == Path(second).read_bytes()


def test_the_gallery_keeps_its_limit_and_its_balance(folder):
    page = page_of(folder, out="report/small.html", max_gallery=9)
    cards = [found for _, found in page.tags if "data-outcome" in found]
    assert len(cards) == 9
    assert {card["data-outcome"] for card in cards} == {"kept", "refused", "failed"}
    assert "9 of 24 samples, balanced over verdict, method and defect." in page.words()


def samples(count, **columns):
    order = np.arange(count)
    names = np.array([f"{(7919 * number) % 10007:05d}" for number in order], object)
    return {"row": order, "sample_id": names, **{name: np.array(values, object) for name, values in columns.items()}}


def test_choice_deals_outcomes_methods_defects_and_reasons_in_turn():
    rare = ["kept"] * 95 + ["refused"] * 4 + ["failed"]
    reason = [""] * 95 + ["irrelevant", "irrelevant", "irrelevant", "unchanged"] + [""]
    batch = samples(100, outcome=rare, method=["a", "b"] * 50, defect=["x"] * 100, reason=reason)
    chosen = choose_samples(batch, 8)
    outcomes = [rare[position] for position in chosen]
    assert outcomes[:5] == ["kept", "refused", "failed", "kept", "refused"]
    assert {reason[position] for position in chosen} == {"", "irrelevant", "unchanged"}
    assert choose_samples(batch, 100)[:8] == chosen
    assert sorted(choose_samples(batch, 1000)) == list(range(100))
    backwards = {name: values[::-1] for name, values in batch.items()}
    assert [99 - position for position in choose_samples(backwards, 8)] == chosen


def test_worst_misses_come_first():
    scores = np.array([0.9, 0.2, 0.6, 0.1, 0.5, 0.5])
    labels = np.array([1, 1, 1, 0, 0, 0])
    assert wrongness(scores, labels).tolist() == [0, 2, 0, 0, 1, 1]
    assert choose_photos(scores, labels, 6)[0] == 1
    assert set(choose_photos(scores, labels, 3)) == {1, 2, 4}
    assert choose_photos(scores, np.ones(6, int), 2) == [3, 1]


def test_gain_table_and_few_photographs(folder, page):
    found = results(read_inputs(folder))
    stored = json.loads(folder.store.read("metrics.json"))
    by_name = {row.name: row for row in found.table}
    assert by_name["AUPRO"].values == tuple(f"{stored[stage]['aupro']:.3f}" for stage in ("stage1", "stage2"))
    assert (found.good, found.defective, found.few, found.one_photo) == (6, 6, True, "0.167")
    assert found.interval[0] <= stored["stage2"]["image_auroc"] - stored["stage1"]["image_auroc"] <= found.interval[1]
    assert "Few photographs. The detector is measured on 6 good and 6 defective photographs." in page.words()
    assert {row.name for row in found.by_defect} == {"dent", "scratch"}


def test_fewer_false_alarms_are_better():
    name = NAMES["image_far_at_full_recall"][0]
    assert (_row(name, "", [0.4, 0.3]).gain, _row(name, "", [0.4, 0.3]).way) == ("−0.100", "up")
    assert _row(name, "", [0.3, 0.4]).way == "down"
    assert _row("Image AUROC", "", [0.4, 0.3]).way == "down"


def test_no_masks_means_no_pixel_metrics_and_the_page_says_why(tmp_path):
    words = page_of(make_run_folder(tmp_path, rows=4, masks=False)).words()
    assert "Pixel AUROC" not in words
    assert "Pixel metrics: not available, the test photographs have no masks." in words


def test_undefined_and_missing_metrics_are_words_not_crashes(tmp_path):
    folder = make_run_folder(tmp_path, rows=4)
    metrics = folder.read_json("metrics.json")
    metrics["stage2"] |= {"image_auroc": float("nan"), "by_defect": {"dent": 0.5}}
    folder.write_json("metrics.json", metrics)
    row = next(row for row in results(read_inputs(folder)).table if row.name == "Image AUROC")
    assert (row.values[1], row.gain, row.way) == ("not defined", "", "flat")
    assert "not defined" in page_of(folder).words()


def test_one_stage_alone_is_shown_without_a_gain(tmp_path):
    folder = make_run_folder(tmp_path, rows=4)
    folder.store.local("evaluation/stage2/scores.parquet").unlink()
    folder.write_json("metrics.json", {"stage1": folder.read_json("metrics.json")["stage1"]})
    found = results(read_inputs(folder))
    assert found.stages == ("Stage 1",)
    assert {row.gain for row in found.table} == {""}
    assert "Stage 2" not in page_of(folder).words()


def test_heat_maps_of_generated_samples_are_shown_where_they_exist(folder, tmp_path):
    folder = make_run_folder(tmp_path, rows=4, evaluated=False)
    assert "heat map" not in page_of(folder).words()
    sample = folder.read_shard(0, ["sample_id"])["sample_id"][0].as_py()
    folder.store.write(f"evaluation/stage1/samples/{sample}.png", make_png(np.full((64, 64), 200, np.uint8)))
    assert page_of(folder).words().count("heat map") == 1


def test_photographs_that_cannot_be_read_are_said_so(tmp_path):
    folder = make_run_folder(tmp_path, rows=4)
    test = list((tmp_path / "photos" / "test").rglob("*.png"))
    test[0].unlink()
    test[1].write_bytes(b"not a picture")
    assert page_of(folder).words().count("not readable here") == 2
    assert "1 refused: train/good/broken.png: cannot be decoded" in page_of(folder).words()


def test_thumbnails_are_scaled_and_broken_or_huge_pictures_are_none(tmp_path):
    large = photograph(make_png(make_surface(1, 300)))
    assert (large.width, large.height) == (128, 128)
    assert photograph(b"") is None
    assert photograph(b"\x89PNG broken") is None
    path = tmp_path / "deep.png"
    Image.fromarray(np.linspace(0, 65535, 64 * 40).reshape(40, 64).astype(np.uint16)).save(path)
    deep = photograph_file(path, 1.0)
    values = np.asarray(Image.open(io.BytesIO(base64.b64decode(deep.uri.partition(",")[2]))).convert("L"))
    assert (values.min() < 12, values.max() > 243, abs(values.mean() - 127) < 5) == (True, True, True)
    assert photograph_file(path, 0.001) is None


def test_even_noise_and_tall_pictures_stay_small():
    noise = np.random.default_rng(0).integers(0, 256, (900, 300, 3), dtype=np.uint8)
    assert len(photograph(make_png(noise[:128, :128])).uri) * 600 < 9e6
    tall = photograph(make_png(noise))
    assert (tall.width, tall.height) == (85, 256)


def test_overlays_are_clear_where_nothing_is_and_lie_on_the_outline():
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    outline = rgba(target_outline(make_png(mask), (64, 64)))
    assert outline[30, 30, 3] == 0
    assert outline[5, 5, 3] == 0
    assert tuple(outline[19, 30]) == (0, 229, 255, 255)
    assert rgba(label_area(make_png(mask), (64, 64)))[30, 30, 3] == 90
    assert rgba(label_area(make_png(0 * mask), (64, 64)))[..., 3].max() == 0
    warm = rgba(heat(make_png(mask), (32, 32)))
    assert (warm[2, 2, 3], warm[15, 15, 3] > 200) == (0, True)
    assert target_outline(b"", (8, 8)) is None


def rgba(picture):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2]))).convert("RGBA"))


def test_a_thin_mask_survives_shrinking():
    mask = np.zeros((512, 512), np.uint8)
    mask[:, 256] = 255
    assert rgba(label_area(make_png(mask), (128, 128)))[..., 3].max() > 0
    assert make_mask(3, 64).any()
