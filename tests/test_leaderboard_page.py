import html.parser
import json
import re
import shutil
import subprocess

import pytest
from fake_runs import config, grid, outputs, protocol, record, write_run

from saddlepoint.leaderboard import command as leaderboard
from saddlepoint.leaderboard import published_figures, read, tables
from saddlepoint.leaderboard.charts import _log_ticks, _ticks
from saddlepoint.leaderboard.flat import to_markdown
from saddlepoint.leaderboard.html_page import to_html
from saddlepoint.leaderboard.pictures import embedded


@pytest.fixture
def sweep(tmp_path):
    return outputs(tmp_path / "outputs")


class Page(html.parser.HTMLParser):
    """Tags, attributes, text, and whether every element is closed."""

    VOID = {"meta", "link", "br", "img", "input", "line", "polyline", "polygon", "circle", "wbr"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open, self.data = [], [], [], {}
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.data[len(self.data)] = data
        else:
            self.texts.append(data)

    def count(self, tag, kind=None):
        return sum(
            t == tag and (kind is None or kind in (a.get("class") or "").split())
            for t, a in self.tags
        )


def test_the_page_has_tables_charts_samples_commands_and_settings(sweep):
    found = tables(read([sweep]).runs, published_figures())
    text = to_html(found, published_figures(), ["Line 3 of x is torn."])
    page = Page(text)
    assert page.count("table", "sortable") == 3
    assert page.count("svg") == 4  # two tables with scores over training, two axes each
    assert page.count("g", "curve") == 2 * (2 + 5)
    assert page.count("img") == 1 + 2 + 5  # the zoom's, and one a row
    assert page.count("button", "copy") == 16
    assert "Line 3 of x is torn." in page.texts
    assert "python train.py experiment=mimicry_cifar10 gan=ssgan seed=1" in page.texts
    runs = json.loads(page.data[0])
    assert len(runs) == 16
    settings = {key: value for key, value, _ in runs[0]["settings"]}
    assert settings["gan.n_dis"] == "2"
    assert len(text) < 400_000


def test_the_page_asks_nothing_of_a_network(sweep):
    text = to_html(tables(read([sweep]).runs, published_figures()), published_figures())
    page = Page(text)
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "data", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|https?://", text)


def test_pictures_keep_their_room_and_short_names(tmp_path):
    for number in range(2):
        settings = config(a=number, b=number, c=number, d=number, e=number, f=number)
        write_run(
            tmp_path / str(number),
            [record({"FID": 9.0}, config=settings)],
            picture=grid((9, 9, 9), 200),
        )
    page = Page(to_html(tables(read([tmp_path]).runs)))
    pictures = [a for tag, a in page.tags if tag == "img" and a.get("src")]
    assert [(a["width"], a["height"]) for a in pictures] == [("200", "200")] * 2
    names = [a["alt"] for a in pictures]
    assert names[0] == "samples of sngan (a=0, b=0, c=0, 3 more), seed 0, final.png"


def test_every_row_has_a_line_of_its_own_look_or_grey(tmp_path):
    for number in range(30):
        settings = config(f"m{number:02d}")
        lines = [record({"FID": 9.0 + number}, i, config=settings) for i in (50_000, 100_000)]
        write_run(tmp_path / str(number), lines)
    text = to_html(tables(read([tmp_path]).runs))
    looks = [
        a["class"].removeprefix("curve ") for t, a in Page(text).tags if t == "g" and "class" in a
    ]
    (chart, _) = looks[:30], looks[30:]
    assert len(set(chart)) == 3 * 8 + 1 and chart.count("c8 d0") == 6
    defined = set(re.findall(r"\.(c\d) \{ --curve", text))
    assert {look.split()[0] for look in chart} <= defined


def test_the_axis_is_named_by_the_unit_it_has(tmp_path):
    lines = [record({"FID": 9.0}, i, seconds=60.0 * i) for i in (1, 5)]
    write_run(tmp_path / "a", lines)
    text = to_html(tables(read([tmp_path]).runs))
    assert "FID against wall-clock minutes" in text and "hours" not in text.split("<svg", 2)[2]


def test_names_reach_the_page_as_text_only(tmp_path):
    evil = "</script><img src=x onerror=alert(1)>'\"&"
    settings = config(evil, [evil], seed=0, **{evil: evil})
    data = {"name": evil, "shape": [3, 32, 32]}
    meaning, fingerprint = protocol(evil, name=evil, extractor=evil)
    line = record({"FID": 9.0, evil: 1.0}, data=data, about=(meaning, fingerprint), config=settings)
    line |= {"commit": evil, "fingerprint": evil, "versions": {evil: evil}}
    line["hardware"]["device"] = evil
    other = record({"FID": 8.0}, 500, data=data, about=(meaning, evil), config=settings)
    write_run(tmp_path / "<img src=y>", [other, line], evil, picture=grid((1, 2, 3)))
    found = tables(read([tmp_path]).runs)
    page = Page(to_html(found, problems=[evil], title=evil))
    assert page.count("script") == 2
    for _, attributes in page.tags:
        assert attributes.get("src", "data:").startswith("data:") and "onerror" not in attributes
    assert json.loads(page.data[0])[0]["settings"]
    assert any(evil in text for text in page.texts)
    assert "</script>" not in to_markdown(found)


def test_a_picture_that_is_no_picture_is_left_out(tmp_path):
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    assert embedded(tmp_path / "torn.png") is None
    assert embedded(tmp_path / "missing.png") is None


@pytest.mark.parametrize(("low", "high"), [(0, 1), (13.7, 14.2), (0, 1e6), (2e-4, 3e-4), (-3, 900)])
def test_ticks_are_a_few_inside_the_range(low, high):
    ticks = _ticks(low, high)
    slack = 1e-6 * (high - low)
    assert 3 <= len(ticks) <= 8
    assert all(low - slack <= t <= high + slack for t in ticks)


@pytest.mark.parametrize(("low", "high"), [(3, 40), (14, 400), (0.002, 900)])
def test_logarithmic_ticks_are_a_few_inside_the_range(low, high):
    assert 3 <= len(_log_ticks(low, high)) <= 10
    assert all(low <= t <= high for t in _log_ticks(low, high))


def browsed(page, tmp_path):
    """A page's markup after its script has run."""
    if not shutil.which("chromium"):
        pytest.skip("needs chromium")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=1000"]
    try:
        answer = subprocess.run(
            [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        pytest.skip("chromium does not start here")
    if "<table" not in answer.stdout:
        pytest.skip("chromium does not start here")
    return answer.stdout


def test_the_page_works_in_a_browser(sweep, tmp_path):
    page = tmp_path / "page.html"
    assert leaderboard.main([str(sweep), "--html", str(page)]) == 0
    shown = browsed(page, tmp_path)
    # The script ran: it filled the choices and compared two runs.
    assert shown.count("<option") == 2 * 16
    assert shown.count('type="checkbox"') > 1
    assert "1 entry that may change the result differs" in shown


def test_a_pinned_baseline_reads_the_same_in_a_browser_as_in_markdown(sweep, tmp_path):
    page, plain = tmp_path / "page.html", tmp_path / "plain.md"
    options = ["--baseline", "ssgan + rotation", "--html", str(page), "--markdown", str(plain)]
    assert leaderboard.main([str(sweep), *options]) == 0
    # What the script writes into the cells, from means and half widths of the page.
    texts = re.findall(r">([^<>]+)<", browsed(page, tmp_path))
    shown = [text for text in texts if re.match(r"^[+−]\d", text)]
    cell = r"\| ([+−][\d.]+) \\\[([+−][\d.]+), ([+−][\d.]+)\\\] \|"
    written = re.findall(cell, plain.read_text())
    assert len(written) == 8 and sorted(shown) == sorted(value for value, _, _ in written)
    intervals = [text for text in texts if re.match(r"^\[[+−]\d", text)]
    assert sorted(intervals) == sorted(f"[{low}, {high}]" for _, low, high in written)
