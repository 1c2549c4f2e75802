"""Looks at every page of the built site: its links, and how it comes out in a browser. Standard library only.

    python docs/check_pages.py site [--report FILE.html ...] [--chromium COMMAND]

Links: each leads to a file and an id that exist, nothing is loaded from elsewhere, and the start page leads to every
page. Links to elsewhere are counted, not followed. Rendering: headless Chromium shows each page at two widths, in
light and in dark; it must say nothing in the console, miss no file, and fit its window. Search: it finds something
in a page opened as a file. A report is one page that needs no other file.

The exit status is 0 when all is well, 1 when something is wrong, 3 when there is no Chromium to look with.
"""

import argparse
import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

WIDTHS = (1280, 390)
SCHEMES = {"light": [], "dark": ["--blink-settings=preferredColorScheme=0"]}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --window-size=1400,1000 --enable-logging=stderr"
)
LIMIT = 300  # seconds for one start of Chromium
NO_CHROMIUM = 3
SEARCH_FOR = "momentum"
# These say where other pages are; every other <link> is a file that the browser loads.
RELATED = {"alternate", "author", "canonical", "license", "next", "prev"}
IN_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s;]+)""")
# What a page writes to the console; Chromium has it on standard error, over several lines if need be.
CONSOLE = re.compile(r':CONSOLE\S*\] "(.*?)", source: (\S*) \(\d+\)$', re.DOTALL | re.MULTILINE)
BEGIN, WRONG, END = "@begin ", "@wrong ", "@end"

# One page after another in a frame, which is then narrowed. It reports through the console, as the pages do.
HARNESS = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body><script>
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const wrong = (text) => console.log("@wrong " + text);
function sticksOut(view) {
  const all = [...view.document.body.querySelectorAll("*")];
  return all.filter((e) => e.getBoundingClientRect().right > view.innerWidth + 1).at(-1)?.outerHTML.slice(0, 80);
}
function judge(view) {
  const page = view.document, wide = page.documentElement.scrollWidth;
  if (wide > view.innerWidth) wrong(`${wide} px wide in a window of ${view.innerWidth}: ${sticksOut(view)}`);
  if (!page.body.innerText.trim()) wrong("the page is empty");
  for (const image of page.images) if (!image.naturalWidth) wrong(`no picture: ${image.getAttribute("src")}`);
  for (const {name, responseStatus} of view.performance.getEntriesByType("resource")) {
    if (responseStatus >= 400) wrong(`status ${responseStatus}: ${name.replace(location.origin, "")}`);
    if (/^(http|ws)/.test(name) && !name.startsWith(location.origin)) wrong(`loaded from elsewhere: ${name}`);
  }
  view.performance.clearResourceTimings();
}
async function look(page) {
  console.log(`@begin ${page} ${WIDTHS[0]}`);
  const frame = Object.assign(document.createElement("iframe"), {src: page, width: WIDTHS[0], height: 900});
  const loaded = new Promise((done) => (frame.onload = () => done(true)));
  document.body.replaceChildren(frame);
  if (!(await Promise.race([loaded, pause(20000)]))) return wrong("not loaded after 20 s");
  await frame.contentDocument.fonts.ready;
  for (const width of WIDTHS) {
    if (width != WIDTHS[0]) console.log(`@begin ${page} ${(frame.width = width)}`);
    await pause(80);
    judge(frame.contentWindow);
  }
}
(async () => {
  for (const page of PAGES) await look(page).catch((error) => wrong(String(error)));
  console.log("@end");
})();
</script>"""


class Page(HTMLParser):
    """What one page has: ids to lead to, and what it points to: the line, the address, whether a file to load."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[tuple[int, str, bool]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Sorts what the attributes point to."""
        given = {name: value for name, value in attrs if value is not None}
        self.ids |= {given[name] for name in ("id", "name" if tag == "a" else "id") if name in given}
        if "href" in given:
            self._add(tag == "link" and not RELATED & set(given.get("rel", "").split()), given["href"])
        for name in {"src", "poster", "data"} & given.keys():
            self._add(True, given[name])
        self._add(True, *IN_STYLE.findall(given.get("style", "")))

    def handle_data(self, data: str) -> None:
        """A style sheet inside the page may load files too."""
        if self.lasttag == "style":
            self._add(True, *IN_STYLE.findall(data))

    def _add(self, loaded: bool, *urls: str) -> None:
        self.targets += [(self.getpos()[0], url, loaded) for url in urls]


class Links:
    """The links of some files under `root`, which need no file but these."""

    def __init__(self, root: Path, files: set[Path]):
        self.root, self.files = root.resolve(), {file.resolve() for file in files}
        pages = sorted(file for file in self.files if file.suffix == ".html")
        self.pages = {file: Page(file.read_text(encoding="utf-8")) for file in pages}
        self.to: dict[Path, set[Path]] = {file: set() for file in pages}
        self.inside = self.elsewhere = 0

    def wrong(self) -> Iterator[str]:
        """Every link that leads nowhere, and every file that comes from elsewhere."""
        for file, page in self.pages.items():
            for line, url, loaded in page.targets:
                if reason := self._reason(file, url, loaded):
                    yield f"{self._name(file)}:{line}: {url} {reason}"
        for sheet in sorted(file for file in self.files if file.suffix == ".css"):
            for url in IN_STYLE.findall(sheet.read_text(encoding="utf-8")):
                yield f"{self._name(sheet)}: {url} is loaded from elsewhere"

    def unreached(self) -> list[str]:
        """Pages to which no way leads from the start page; the one that stands for missing pages needs none."""
        found, new = set(), {self.root / "index.html"}
        while new:
            found |= new
            new = {there for page in new for there in self.to.get(page, ())} - found
        lost = set(self.pages) - found - {self.root / "404.html"}
        return [f"{self._name(page)}: no way leads here from index.html" for page in sorted(lost)]

    def _reason(self, file: Path, url: str, loaded: bool) -> str:
        """Why a link is wrong, or nothing."""
        parts = urlsplit(url)
        if parts.netloc:
            self.elsewhere += 1
            return "is loaded from elsewhere" if loaded else ""
        if parts.scheme:
            return "" if parts.scheme in ("data", "mailto") else "is no link of a page"
        self.inside += 1
        path = unquote(parts.path)
        there = (self.root / path.lstrip("/") if path.startswith("/") else file.parent / path).resolve()
        there = file if not path else there / "index.html" if there.is_dir() else there
        if there not in self.files:
            return "leads to no file"
        if there in self.pages:
            self.to[file].add(there)
            if parts.fragment and unquote(parts.fragment) not in self.pages[there].ids:
                return "leads to no id of that page"
        return ""

    def _name(self, file: Path) -> str:
        return file.relative_to(self.root).as_posix()


@contextlib.contextmanager
def served(site: Path, reports: list[Path]) -> Iterator[tuple[str, list[str]]]:
    """Serves the pages and the harness on a free port of this machine; the harness' address, and the pages."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "site").symlink_to(site.resolve(), target_is_directory=True)
        # The one that stands for missing pages knows its files only where the site is at the root of its host.
        found = sorted(set(site.rglob("*.html")) - {site / "404.html"})
        pages = [f"site/{page.relative_to(site).as_posix()}" for page in found]
        for number, report in enumerate(reports):
            # In a folder of its own, so that it finds no other file.
            (root / f"report_{number}").mkdir()
            (root / f"report_{number}" / report.name).symlink_to(report.resolve())
            pages.append(f"report_{number}/{report.name}")
        known = f"<script>const PAGES = {json.dumps([*map(quote, pages)])}, WIDTHS = {list(WIDTHS)};"
        (root / "harness.html").write_text(HARNESS.replace("<script>", known), encoding="utf-8")
        handler = functools.partial(_Quiet, directory=folder)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/harness.html", pages
            server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing: the harness tells what is missing."""


@contextlib.contextmanager
def _chromium(command: str, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """One start of Chromium with a profile of its own; it is ended with all that it started."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        given = [command, *FLAGS.split(), f"--user-data-dir={profile}", *flags]
        streams: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
        process = subprocess.Popen(given, start_new_session=True, **streams)

        def end() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        watch = threading.Timer(LIMIT, end)
        watch.start()
        with process:
            try:
                yield process
            finally:
                watch.cancel()
                end()


def rendered(command: str, address: str, scheme: str) -> list[str]:
    """What is wrong with the pages in one colour scheme."""
    text = ""
    with _chromium(command, *SCHEMES[scheme], address) as process:
        assert process.stderr is not None
        for line in process.stderr:
            text += line
            if END in line:
                break
    wrong, where = [], "before the first page"
    for said, source in CONSOLE.findall(text):
        if said.startswith(BEGIN):
            page, width = said.removeprefix(BEGIN).rsplit(" ", 1)
            where = f"{unquote(page)}, {width} px, {scheme}"
        elif said.startswith(WRONG):
            wrong.append(f"{where}: {said.removeprefix(WRONG)}")
        elif said != END:
            wrong.append(f"{where}: the console says: {said} ({source.rsplit('/', 1)[-1]})")
    return wrong if END in text else [*wrong, f"{where}: Chromium ended here, or ran longer than {LIMIT} s"]


def check_links(site: Path, reports: list[Path]) -> list[str]:
    """Checks the links of the site and of each report, and prints one line."""
    whole = Links(site, {file for file in site.rglob("*") if file.is_file()})
    parts = [whole, *(Links(report.parent, {report}) for report in reports)]
    wrong = [line for part in parts for line in part.wrong()] + whole.unreached()
    pages = sum(len(part.pages) for part in parts)
    inside, elsewhere = sum(part.inside for part in parts), sum(part.elsewhere for part in parts)
    print(f"links: {inside} inside {pages} pages, {elsewhere} to elsewhere (not followed): {len(wrong)} wrong")
    return wrong


def check_rendering(command: str, site: Path, reports: list[Path]) -> list[str]:
    """Looks at every page in both colour schemes at once, and prints one line."""
    start = time.monotonic()
    with served(site, reports) as (address, pages), ThreadPoolExecutor() as pool:
        found = pool.map(lambda scheme: rendered(command, address, scheme), SCHEMES)
        wrong = [line for lines in found for line in lines]
    widths, seconds = " and ".join(map(str, WIDTHS)), time.monotonic() - start
    print(f"rendering: {len(pages)} pages at {widths} px, light and dark, in {seconds:.0f} s: {len(wrong)} wrong")
    return wrong


def check_search(command: str, site: Path) -> list[str]:
    """Searches in a page opened as a file, where the site has a search, and prints one line."""
    if not (site / "search").is_dir():
        return []
    address = f"{(site / 'index.html').resolve().as_uri()}?q={SEARCH_FOR}"
    with _chromium(command, "--virtual-time-budget=20000", "--dump-dom", address) as process:
        results = process.communicate()[0].count('class="md-search-result__item"')
    print(f'search: "{SEARCH_FOR}" has {results} results in a page opened as a file')
    return [] if results else ["index.html: the search finds nothing in a page opened as a file"]


def main(arguments: list[str] | None = None) -> int:
    """Runs all checks and prints what is wrong."""
    parser = argparse.ArgumentParser(description="Checks the pages of the built site.")
    parser.add_argument("site", type=Path, help="folder of the built site")
    parser.add_argument("--report", type=Path, nargs="+", default=[], help="reports, each one self-contained page")
    parser.add_argument("--chromium", default=os.environ.get("CHROMIUM"), help="the browser; default: $CHROMIUM")
    given = parser.parse_args(arguments)
    for path in (given.site / "index.html", *given.report):
        if not path.is_file():
            parser.error(f"{path} is no file: build the site first, with python -m mkdocs build")
    wrong = check_links(given.site, given.report)
    command = next(filter(None, map(shutil.which, [given.chromium] if given.chromium else BROWSERS)), None)
    if command:
        wrong += check_rendering(command, given.site, given.report) + check_search(command, given.site)
    else:
        print(f"rendering and search: NOT CHECKED, for there is no {given.chromium or ', '.join(BROWSERS)}")
    for line in wrong:
        print(f"  {line}")
    return 1 if wrong else 0 if command else NO_CHROMIUM


if __name__ == "__main__":
    sys.exit(main())
