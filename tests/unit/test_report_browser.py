"""The report in a real browser, where there is one: no error, no request, no fault that axe finds, legible everywhere.

Headless Chromium runs on a copy of the page that allows scripts, so that axe-core (from the package axe-core-python, if
it is installed) can look at it. Nothing is downloaded.
"""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import described_made as made
import pytest
from test_report import outline

from silosynth.common.evaluate import report
from silosynth.common.evaluate.sections import Scope
from silosynth.common.evaluate.style import STYLE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--enable-logging=stderr",
)  # fmt: skip
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


def browse(folder, page, *flags):
    """Standard output and error of a browser that opened `page`."""
    file = folder / "page.html"
    file.write_text(page)
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, file.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def page(scope=Scope.SIMULATION):
    return report.render(made.metrics(scope=scope), made.claims(), made.study())


def with_script(html, *scripts):
    """A copy that may run scripts."""
    free = POLICY.sub("", html)
    assert free != html
    return free.replace("</body>", "".join(f"<script>{one}</script>" for one in scripts) + "</body>")


def result_of(dumped):
    found = re.search(r'<pre id="result">(.*?)</pre>', dumped, re.DOTALL)
    assert found, dumped[-2000:]
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


TELL = "const pre=document.createElement('pre');pre.id='result';document.body.append(pre);"


@needs_browser
def test_it_says_nothing_on_the_console_and_asks_for_nothing(tmp_path):
    dumped, logged = browse(tmp_path, page(), "--dump-dom")
    assert "<h1>" in dumped
    assert not [line for line in logged.splitlines() if "CONSOLE" in line]
    asked = TELL + "pre.textContent=JSON.stringify(performance.getEntriesByType('resource').map(one=>one.name));"
    dumped, _ = browse(tmp_path, with_script(page(), asked), "--dump-dom")
    assert result_of(dumped) == []


@needs_browser
@pytest.mark.parametrize("wide", [360, 1280])
def test_nothing_is_wider_than_the_screen(tmp_path, wide):
    """In a frame, because a headless window is never narrower than 500."""
    inner = tmp_path / "inner.html"
    inner.write_text(
        with_script(
            page(),
            "parent.postMessage(JSON.stringify([document.documentElement.scrollWidth,innerWidth]),'*');",
        )
    )
    frame = (
        f'<body><iframe src="{inner.as_uri()}" width="{wide}" height="900" style="border:0"></iframe><script>'
        f"onmessage=e=>{{{TELL}pre.textContent=e.data}}</script></body>"
    )
    dumped, _ = browse(tmp_path, frame, "--dump-dom", "--virtual-time-budget=5000", "--window-size=1400,1000")
    there, room = result_of(dumped)
    assert room == wide
    assert there <= room


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_fault(tmp_path, dark):
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None or spec.origin is None:
        pytest.skip("axe-core-python is not installed")
    axe = (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")
    opened = with_script(page(Scope.SITE), axe).replace("<details>", "<details open>")
    run = TELL + (
        "axe.run(document,{resultTypes:['violations']}).then(found=>{pre.textContent=JSON.stringify("
        "found.violations.map(one=>[one.id,one.nodes.slice(0,3).map(node=>node.html.slice(0,200))]))});"
    )
    opened = opened.replace("</body>", f"<script>{run}</script></body>")
    flags = ("--blink-settings=preferredColorScheme=0",) if dark else ()
    dumped, _ = browse(tmp_path, opened, "--dump-dom", "--virtual-time-budget=30000", *flags)
    assert result_of(dumped) == []


@needs_browser
def test_on_paper_everything_is_unfolded_and_a_site_stamps_every_sheet(tmp_path):
    target = tmp_path / "page.pdf"
    browse(tmp_path, page(Scope.SITE), f"--print-to-pdf={target}", "--no-pdf-header-footer")
    content = target.read_bytes()
    assert content.startswith(b"%PDF")
    pymupdf = pytest.importorskip("pymupdf")
    sheets = [sheet.get_text() for sheet in pymupdf.open(target)]
    assert len(sheets) > 2
    assert all(report.FOR_ONE_SITE in sheet for sheet in sheets)
    assert "The public schema" in "".join(sheets)  # folded on the screen


def _luminance(colour):
    full = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
    parts = [int(full[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one, other):
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_texts_and_marks_stand_out_in_both_schemes(scheme):
    """WCAG 2.2: 4.5 for text, 3 for marks; computed from the palette, so that it holds without a browser."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    palette = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+)", blocks[scheme]))
    assert len(blocks) == 2
    texts = [(ink, paper) for ink in ("ink", "soft", "mark") for paper in ("paper", "wash")]
    texts += [("ink", "warm-paper"), ("alarm", "alarm-paper"), ("paper", "alarm"), ("on-mark", "mark")]
    for ink, paper in texts:
        assert _contrast(palette[ink], palette[paper]) >= 4.5, (ink, paper)
    assert _contrast(palette["mark"], palette["pale"]) >= 3


def test_tables_name_their_columns_and_rows_and_parts_their_headings():
    parsed = outline(page())
    heads = [attributes.get("scope") for tag, attributes in parsed.seen if tag == "th"]
    assert heads
    assert set(heads) == {"col", "row"}
    ids = {attributes["id"] for _, attributes in parsed.seen if "id" in attributes}
    assert {attributes["aria-labelledby"] for _, attributes in parsed.seen if "aria-labelledby" in attributes} == ids
    assert [tag for tag, _ in parsed.seen].count("main") == 1
