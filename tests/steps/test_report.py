"""The report of real runs: its figures, its page, and what a browser makes of it."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from html import unescape
from html.parser import HTMLParser

import pytest
from steps_datasets import build, rows
from typer.testing import CliRunner

from sllm_data.cli import app
from sllm_data.config import resolve
from sllm_data.errors import OutputError, ShardError
from sllm_data.reporting.report import write_report
from tests.reporting.browser import browsing, find_browser

HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror=window.broken=1> \"'&"
VOID = {"meta", "link"}


@pytest.fixture(scope="module")
def root(spoken, configured, document, tmp_path_factory):
    """A run over the small corpus and a manifest whose transcripts and ids are hostile."""
    folder = tmp_path_factory.mktemp("report")
    clips = sorted((spoken / "LibriSpeech").glob("*/*/*/*.flac"))[:6]
    for number, clip in enumerate(clips):
        shutil.copy(clip, folder / f"{number}.flac")
    lines = [
        {"audio_filepath": f"{number}.flac", "text": f"{HOSTILE} {number}", "lang": "en"}
        | {"speaker": f"<b>{number}</b>"}
        for number in range(len(clips))
    ]
    (folder / "hostile.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = document(folder / "a <b> & c")
    given["corpora"].append({"kind": "manifest", "path": str(folder / "hostile.jsonl")})
    # the recordings are those of LibriSpeech: without it they are no duplicates
    del given["corpora"][0]
    build(resolve(given, where="test"))
    return folder / "a <b> & c"


def _write(roots, output, **options):
    options = {"num_samples": 50, "advance": lambda: None} | options
    return write_report(roots, output, **options)


@pytest.fixture(scope="module")
def written(root, tmp_path_factory):
    output = tmp_path_factory.mktemp("page") / "report.html"
    (figures,) = _write([root], output)
    return figures, output


class _Structure(HTMLParser):
    """What a page is made of; every element must be closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def structure(written):
    found = _Structure()
    found.feed(written[1].read_text())
    assert found.open == []
    return found


def test_the_figures_are_those_of_the_tables(root, written):
    figures, samples = written[0], rows(root, "samples")
    tasks = figures.amounts.tasks
    assert sum(task.rows for task in tasks.values()) == len(samples)
    assert sum(each.rows for each in figures.amounts.corpora) == len(samples)
    tokens = sum(row["num_response_tokens"] for row in samples)
    assert sum(task.response_tokens for task in tasks.values()) == tokens
    durations = {row["audio_id"]: row["duration_s"] for row in rows(root, "audio")}
    hours = sum(durations[row["audio_refs"][0]["audio_id"]] for row in samples) / 3600
    assert sum(task.hours for task in tasks.values()) == pytest.approx(hours, abs=1e-5)
    assert figures.amounts.durations.total == len(durations)


def test_rejections_are_all_counted_and_have_examples(root, written):
    rejections = rows(root, "rejections")
    counted = {(each.step, each.reason): each.rows for each in written[0].rejections}
    reasons = [(row["step"], row["reason"]) for row in rejections]
    assert counted == {reason: reasons.count(reason) for reason in reasons}
    ids = {row["row_id"] for row in rejections}
    for each in written[0].rejections:
        assert 1 <= len(each.examples) <= min(3, each.rows)
        assert {one.row_id for one in each.examples} <= ids


def test_copies_are_measured_as_the_filters_do(root, written):
    for task, found in written[0].quality.items():
        rates = [
            row["quality"]["copy_rate"] for row in rows(root, "samples") if row["task"] == task
        ]
        known = [rate for rate in rates if rate is not None]
        if known:
            assert found.copy_rate == pytest.approx(sum(known) / len(known), abs=1e-5)
            predicted = written[0].anchors.tasks[task]
            assert predicted.own == pytest.approx(found.copy_rate, abs=1e-5)


def test_a_transcript_predicts_itself_and_not_another(written):
    predicted = written[0].anchors.tasks["transcription"]
    assert predicted.is_transcript
    assert predicted.own == predicted.own_words == 1.0
    assert predicted.other < 0.9


def test_every_speaker_is_counted_once(root, written):
    speakers = {
        (row["source"]["corpus"], row["speakers"][0]["id"]) for row in rows(root, "samples")
    }
    known = {speaker for speaker in speakers if speaker[1] is not None}
    assert sum(written[0].anchors.speakers.values()) == len(known)


def test_the_same_dataset_gives_the_same_page(root, written, tmp_path):
    _write([root], tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == written[1].read_bytes()


def test_figures_are_plain_json(written):
    assert json.loads(json.dumps(written[0].as_json()))["name"] == "a <b> & c"


def test_ids_are_unique_and_every_reference_leads_somewhere(structure):
    assert len(structure.ids) == len(set(structure.ids))
    for _, attributes in structure.elements:
        for name in ("aria-labelledby", "for"):
            assert set((attributes.get(name) or "").split()) <= set(structure.ids)
    for link in structure.all("a"):
        assert link["href"].removeprefix("#") in structure.ids


def test_charts_and_players_can_be_read_out(structure):
    svgs = structure.all("svg")
    assert len(svgs) >= 6
    assert len(structure.all("desc")) == len(svgs)
    assert all(svg["role"] == "img" and svg["aria-labelledby"] for svg in svgs)
    assert all(player["aria-label"] and "controls" in player for player in structure.all("audio"))


def test_nothing_outside_is_named(structure, written):
    for _, attributes in structure.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
        assert not [name for name in attributes if name.startswith("on")]
    assert len(structure.all("script")) == 1
    assert not structure.all("img")
    assert "url(" not in re.sub(r"base64,[^\"]*", "", written[1].read_text())


def test_a_sample_of_every_task_is_there(written, structure):
    shown = {article["data-task"] for article in structure.all("article")}
    assert shown == set(written[0].amounts.tasks)
    assert len(structure.all("article")) == min(50, written[0].stats.rows["samples"])


def _table(page, caption):
    """The header of a table on the page, and its lines by their first cells."""
    (found,) = re.findall(f"<caption>{caption}</caption>(.*?)</table>", page)
    header, *lines = (
        [unescape(cell) for cell in re.findall("<t[hd][^>]*>(.*?)</t[hd]>", line)]
        for line in re.findall("<tr>(.*?)</tr>", found)
    )
    return header[1:], {first: rest for first, *rest in lines}


def test_the_page_tells_quotas_asked_and_got(root, written):
    samples, requests = (
        Counter(row["task"] for row in rows(root, table)) for table in ("samples", "requests/main")
    )
    header, lines = _table(written[1].read_text(), "Quotas")
    assert header == ["asked", "requests", "share", "samples", "share", "got less asked"]
    assert set(lines) == set(requests)
    for task, (asked, *found, difference) in lines.items():
        got = samples[task] / samples.total()
        assert found == [
            str(requests[task]),
            f"{requests[task] / requests.total():.1%}",
            str(samples[task]),
            f"{got:.1%}",
        ]
        assert float(difference[:-1]) == pytest.approx(100 * got - float(asked[:-1]), abs=0.11)


def test_the_page_tells_the_verdicts_of_each_task(root, written):
    header, lines = _table(written[1].read_text(), "Verdicts and figures of the filters")
    verdicts = Counter((row["task"], row["quality"]["verdict"]) for row in rows(root, "samples"))
    named = header[1 : header.index("copy rate")]
    assert set(named) == {verdict for _, verdict in verdicts}
    for task, (total, *found) in lines.items():
        counts = [verdicts[task, verdict] for verdict in named]
        assert found[: len(named)] == [str(count) for count in counts]
        assert total == str(sum(counts))


def test_a_sample_has_its_text_twin_and_its_request(root, written):
    of = {row["sample_id"]: row for row in rows(root, "samples")}
    shown = written[1].read_text().split('<div class="sample">')[1:]
    assert shown
    for each in shown:
        (sample_id,) = re.findall("<small>([0-9a-f]{32})</small>", each)
        twin = each.partition("<summary>text twin</summary>")[2].partition("<summary>")[0]
        texts = re.findall('(?s)class="text">(.*?)</span>', twin)
        assert [unescape(found) for found in texts] == [
            turn["content"] for turn in of[sample_id]["text_messages"]
        ]
        key = of[sample_id]["generator"]["request_key"] or "none: the transcript is the answer"
        assert f"<dt>request</dt><dd>{key}</dd>" in each


def test_players_that_find_no_room_are_counted(root, tmp_path):
    _write([root], tmp_path / "small.html", num_samples=4, max_audio_bytes=0)
    page = (tmp_path / "small.html").read_text()
    assert "<audio" not in page
    assert "4 players were left out" in page


def test_two_runs_of_one_configuration_stand_side_by_side(configured, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    build(configured(first))
    build(configured(second, seed=2))
    figures = _write([first, second], tmp_path / "two.html", num_samples=6)
    assert [each.name for each in figures] == ["first", "second"]
    found = _Structure()
    found.feed((tmp_path / "two.html").read_text())
    assert found.all("body") == [{"class": "two"}]
    assert len(found.ids) == len(set(found.ids))
    samples = sum(each.get("class") == "sample" for each in found.all("div"))
    assert samples == 12
    page = (tmp_path / "two.html").read_text()
    pairs = [re.findall("<small>([0-9a-f]{32})<", each) for each in page.split("<article")[1:]]
    of_first, of_second = ({pair[side] for pair in pairs if len(pair) > side} for side in (0, 1))
    assert all(pair[0] == pair[-1] for pair in pairs if pair[0] in of_first & of_second)


def test_a_dataset_in_the_making_has_the_sections_that_it_can_have(configured, tmp_path):
    from sllm_data.steps import Progress, run_step

    config = configured(tmp_path / "d")
    for step in ("candidates", "ingest"):
        run_step(config, step, Progress(None))
    (figures,) = _write([tmp_path / "d"], tmp_path / "page.html")
    assert figures.amounts.durations.total > 0
    assert figures.anchors.rows == 0
    assert "There are no samples yet." in (tmp_path / "page.html").read_text()


def test_a_folder_that_is_no_dataset_is_one_sentence(tmp_path):
    with pytest.raises(ShardError, match=r"must be a dataset, found no manifest/\*\.json"):
        _write([tmp_path], tmp_path / "page.html")


def test_a_part_that_is_gone_is_one_sentence(root, tmp_path):
    shutil.copytree(root, tmp_path / "d")
    next((tmp_path / "d/samples").glob("*.parquet")).unlink()
    with pytest.raises(ShardError, match=r"its tables can't be added up: .* validate"):
        _write([tmp_path / "d"], tmp_path / "page.html")


@pytest.mark.parametrize("content", ["{", '{"runs": 3}', "{}", '{"runs": [[["a", 1]]]}'])
def test_a_damaged_course_is_one_sentence(root, tmp_path, content):
    shutil.copytree(root, tmp_path / "d")
    (tmp_path / "d/reports/generate.main.course.json").write_text(content)
    with pytest.raises(ShardError, match=r"course\.json: must be JSON .*; delete it"):
        _write([tmp_path / "d"], tmp_path / "page.html")


def test_a_folder_is_no_page(root, tmp_path):
    with pytest.raises(OutputError, match="must be a file to write the page to, found a folder"):
        _write([root], tmp_path)


def test_the_command_writes_the_page_and_prints_figures(root, tmp_path):
    command = [sys.executable, "-m", "sllm_data.cli", "report", str(root), "--samples", "2"]
    output = tmp_path / "page.html"
    said = subprocess.run(
        [*command, "--out", str(output), "--json"], capture_output=True, text=True, check=True
    )
    assert [each["name"] for each in json.loads(said.stdout)] == [root.name]
    assert output.read_text().count("<article") == 2


def test_the_dataset_beside_is_a_place_like_the_other(tmp_path):
    command = ["report", str(tmp_path), "--beside", "s3://user:secret@bucket/folder"]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 2
    assert "must be protocol://bucket/folder" in said.stderr
    assert "secret" not in said.stderr


@pytest.fixture(scope="module")
def browser():
    """A Chromium. Where none can be had that is an expected failure, which may happen in CI."""
    program = find_browser()
    if program is None:
        pytest.xfail("no Chromium on this machine; apt-get install chromium")
    with browsing(program) as page:
        yield page


@pytest.fixture(scope="module")
def opened(browser, written):
    browser.open(written[1])
    return browser


def test_a_browser_shows_it_without_a_complaint_or_a_request(opened, written):
    assert opened.run("document.title") == "a <b> & c"
    assert opened.run("document.querySelectorAll('section').length") == 10
    assert opened.complaints() == []
    own = [url for url in opened.requests() if not url.startswith("data:")]
    assert own == [written[1].resolve().as_uri()]


def test_a_hostile_transcript_stays_text(opened):
    assert opened.run("window.broken === undefined")
    assert opened.run("document.querySelectorAll('main script, main img, main b b').length") == 0
    texts = opened.run("[...document.querySelectorAll('.text')].map(e => e.textContent)")
    assert any(HOSTILE in text for text in texts)


def _choose(page, task):
    page.run(
        f"""(() => {{
            const choice = document.getElementById('task');
            choice.value = {json.dumps(task)};
            choice.dispatchEvent(new Event('change'));
        }})()"""
    )


def test_the_filter_shows_the_samples_of_one_task(opened, written):
    task = min(written[0].amounts.tasks)
    shown = "[...document.querySelectorAll('article')].filter(e => e.checkVisibility())"
    assert opened.run("document.getElementById('filter').checkVisibility()")
    _choose(opened, task)
    assert opened.run(f"[...new Set({shown}.map(e => e.dataset.task))]") == [task]
    said = opened.run("document.getElementById('shown').textContent")
    assert said.startswith(f"{opened.run(f'{shown}.length')} of ")
    _choose(opened, "")
    assert opened.run(f"{shown}.length === document.querySelectorAll('article').length")
    assert opened.complaints() == []


def test_every_clip_can_be_played(opened):
    durations = opened.run(
        """Promise.all([...document.querySelectorAll('audio')].map(player =>
        new Promise((done, failed) => {
            player.onerror = () => failed(new Error(player.error.message));
            player.onloadedmetadata = () => done(player.duration);
            player.load();
        })))"""
    )
    assert durations
    assert all(0.2 < duration < 60 for duration in durations)
    kinds = opened.run("[...document.querySelectorAll('audio')].map(e => e.src.slice(5, 15))")
    assert {kind.partition(";")[0] for kind in kinds} == {"audio/flac", "audio/mpeg"}


def test_a_clip_plays(opened):
    played = opened.run(
        """(async () => {
            const player = document.querySelector('audio');
            await player.play();
            await new Promise(done => player.addEventListener('timeupdate', done));
            player.pause();
            return player.currentTime > 0;
        })()"""
    )
    assert played
    assert opened.complaints() == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_its_window_in_light_and_dark(opened, tmp_path, width, dark):
    opened.draw(tmp_path / "page.png", width=width, height=900, dark=dark)
    assert opened.run("document.documentElement.scrollWidth <= innerWidth")
    colours = opened.run(
        "['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])"
    )
    text, back = (sum(map(int, re.findall(r"\d+", colour))) for colour in colours)
    assert (text > back) == dark


def test_in_print_all_that_is_folded_is_open_and_what_is_for_a_screen_is_gone(opened):
    def seen(what):
        return opened.run(
            f"[...new Set([...document.querySelectorAll('{what}')].map(e => e.checkVisibility()))]"
        )

    folded, labels = "details > :not(summary)", "summary:not(:has(+ .wide))"
    on_screen = [seen(what) for what in (folded, labels, "nav", "audio")]
    opened.send("Emulation.setEmulatedMedia", media="print")
    on_paper = [seen(what) for what in (folded, labels, "nav", "audio")]
    opened.send("Emulation.setEmulatedMedia", media="")
    assert on_screen == [[False], [True], [True], [True]]
    assert on_paper == [[True], [True], [False], [False]]


def test_what_is_told_by_colour_is_told_otherwise_too_and_printed(opened):
    of_trained = "getComputedStyle(document.querySelector('mark.text'))"
    assert opened.run(f"{of_trained}.textDecorationLine") == "underline"
    for what in ("mark", ".key", ".grid td"):
        shown = f"getComputedStyle(document.querySelector('{what}')).printColorAdjust"
        assert opened.run(shown) == "exact"


def test_what_is_said_is_marked_with_its_language(opened, root):
    languages = {row["language"] for row in rows(root, "samples")}
    assert len(languages) > 1
    said = opened.run("[...document.querySelectorAll('span.text[lang]')].map(e => e.lang)")
    assert set(said) <= languages
    answered = opened.run("[...document.querySelectorAll('mark.text')].map(e => e.lang)")
    assert set(answered) <= {row["response_language"] for row in rows(root, "samples")}


def test_it_is_used_by_keyboard(opened):
    opened.run("document.activeElement.blur(); 0")
    for _ in range(2):
        for kind in ("keyDown", "keyUp"):
            opened.send(
                "Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9
            )
    assert opened.run("document.activeElement.hash") == "#headline"
    assert opened.run("document.querySelectorAll('.wide:not([tabindex])').length") == 0
