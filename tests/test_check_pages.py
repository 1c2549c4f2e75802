"""The check of the pages finds what it should find, in a small site with one thing wrong in each page."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "check_pages.py"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
Site = Callable[..., Path]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_pages", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


check_pages = _script()
CHROMIUM = next(filter(None, map(shutil.which, check_pages.BROWSERS)), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, to render pages")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Writes pages, `name="body"`, and a start page that leads to each."""

    def write(**bodies: str) -> Path:
        links = "".join(f'<a href="{name}.html">{name}</a> ' for name in bodies if name != "lost")
        for name, body in {"index": links or "no page", **bodies}.items():
            page = f'<!doctype html><html><head><link rel="icon" href="data:,"></head><body>{body}</body></html>'
            (tmp_path / f"{name}.html").write_text(page, encoding="utf-8")
        return tmp_path

    return write


def test_good_links_pass(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    folder = site(
        one=f'<p id="top">One</p><a href="two.html#end%20of%20it">two</a><a href="#top">up</a><img src="{PIXEL}">',
        two='<p id="end of it">Two</p><a href="/index.html">start</a><a href="https://example.org">elsewhere</a>',
    )
    assert check_pages.check_links(folder, []) == []
    assert capsys.readouterr().out == "links: 5 inside 3 pages, 1 to elsewhere (not followed): 0 wrong\n"


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ('<a href="none.html">x</a>', "none.html leads to no file"),
        ('<a href="../page.html">x</a>', "../page.html leads to no file"),
        ('<img src="none.png">', "none.png leads to no file"),
        ('<a href="#none">x</a>', "#none leads to no id of that page"),
        ('<a href="index.html#none">x</a>', "index.html#none leads to no id of that page"),
        ('<a href="ftp://x">x</a>', ""),
        ('<a href="javascript:x()">x</a>', "javascript:x() is no link of a page"),
        ('<script src="https://x.org/a.js"></script>', "https://x.org/a.js is loaded from elsewhere"),
        ('<script src="//x.org/a.js"></script>', "//x.org/a.js is loaded from elsewhere"),
        ('<link rel="stylesheet" href="https://x.org/a.css">', "https://x.org/a.css is loaded from elsewhere"),
        ('<link rel="canonical" href="https://x.org/">', ""),
        ('<style>@import "https://x.org/a.css";</style>', "https://x.org/a.css is loaded from elsewhere"),
        ('<p style="background: url(https://x.org/a.png)">x</p>', "https://x.org/a.png is loaded from elsewhere"),
    ],
)
def test_a_wrong_link_is_found(site: Site, body: str, wrong: str) -> None:
    found = check_pages.check_links(site(page=body), [])
    assert found == ([f"page.html:1: {wrong}"] if wrong else [])


def test_a_style_sheet_that_loads_from_elsewhere_is_found(site: Site) -> None:
    (site() / "style.css").write_text("@font-face { src: url('https://x.org/a.woff2'); }", encoding="utf-8")
    assert check_pages.check_links(site(), []) == ["style.css: https://x.org/a.woff2 is loaded from elsewhere"]


def test_a_page_without_a_way_to_it_is_found(site: Site) -> None:
    folder = site(found="x", lost='<a href="lost.html">x</a>')
    assert check_pages.check_links(folder, []) == ["lost.html: no way leads here from index.html"]


def test_a_report_needs_no_other_file(site: Site, tmp_path: Path) -> None:
    report = tmp_path / "reports" / "run.html"
    report.parent.mkdir()
    (report.parent / "curve.png").write_bytes(b"")
    report.write_text(f'<p id="a">x</p><a href="#a">a</a><img src="{PIXEL}"><img src="curve.png">', encoding="utf-8")
    found = [line for line in check_pages.check_links(site(), [report]) if line.startswith("run.html")]
    assert found == ["run.html:1: curve.png leads to no file"]


def test_without_chromium_it_says_so(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_pages.main([str(site()), "--chromium", "no-such-browser"]) == check_pages.NO_CHROMIUM
    assert "rendering and search: NOT CHECKED, for there is no no-such-browser" in capsys.readouterr().out


def test_a_folder_without_pages_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        check_pages.main([str(tmp_path)])
    assert "index.html is no file: build the site first" in capsys.readouterr().err


@needs_chromium
def test_what_is_wrong_in_the_browser_is_found(site: Site) -> None:
    # One start of Chromium for all of them, so that the test is quick.
    folder = site(
        good=f'<p>Good</p><img src="{PIXEL}"><div style="overflow: auto"><p style="width: 2000px">scrolls</p></div>',
        wide='<p style="width: 600px">wide on a phone</p>',
        error="<p>x</p><script>undefined.x</script>",
        warning='<p>x</p><script>console.warn("two\\nlines")</script>',
        picture='<p>x</p><img src="index.html">',
        request='<p>x</p><script>fetch("none.json")</script>',
        outside='<p>x</p><script>fetch("http://127.0.0.1:9/x").catch(() => 0)</script>',
        empty="<p> </p>",
        night='<p>x</p><script>if (matchMedia("(prefers-color-scheme: dark)").matches) undefined.x</script>',
    )
    found = check_pages.check_rendering(CHROMIUM, folder, [])
    by_page = {name: [line for line in found if line.startswith(f"site/{name}.html")] for name in ("index", "good")}
    assert by_page == {"index": [], "good": []}
    for line in (
        'site/wide.html, 390 px, light: 608 px wide in a window of 390: <p style="width: 600px">wide on a phone</p>',
        "site/error.html, 1280 px, light: the console says: Uncaught TypeError: Cannot read properties of undefined "
        "(reading 'x') (error.html)",
        "site/warning.html, 1280 px, light: the console says: two\nlines (warning.html)",
        "site/picture.html, 390 px, light: no picture: index.html",
        "site/request.html, 1280 px, light: status 404: /site/none.json",
        "site/outside.html, 1280 px, light: loaded from elsewhere: http://127.0.0.1:9/x",
        "site/empty.html, 1280 px, light: the page is empty",
    ):
        assert line in found
        assert line.replace("light", "dark") in found
    assert [line.split(": ")[0] for line in found if "night" in line] == ["site/night.html, 1280 px, dark"]
    assert not [line for line in found if line.startswith("site/wide.html, 1280")]


@needs_chromium
def test_a_search_that_finds_nothing_is_found(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    folder = site()
    assert check_pages.check_search(CHROMIUM, folder) == []
    (folder / "search").mkdir()
    assert len(check_pages.check_search(CHROMIUM, folder)) == 1
    assert 'search: "momentum" has 0 results' in capsys.readouterr().out


@needs_chromium
def test_one_command_checks_a_site_and_a_report(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    folder = site(page="<p>x</p>")
    (folder.parent / "report.html").write_text("<!doctype html><title>x</title><p>Report</p>", encoding="utf-8")
    assert check_pages.main([str(folder), "--report", str(folder.parent / "report.html")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "links: 1 inside 3 pages, 0 to elsewhere (not followed): 0 wrong"
    assert lines[1].startswith("rendering: 3 pages at 1280 and 390 px, light and dark, in ")
    (folder / "page.html").write_text('<p>x</p><a href="none.html">x</a>', encoding="utf-8")
    assert check_pages.main([str(folder)]) == 1
