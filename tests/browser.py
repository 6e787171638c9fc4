"""Widths of a page as a browser lays it out, where there is one."""

import html
import json
import re
import shutil
import subprocess

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
MEASURE = """<script>
document.querySelectorAll("details").forEach(part => part.open = true);
const tables = [...document.querySelectorAll(".scroll")].map(part => [part.scrollWidth, part.clientWidth]);
const page = [document.documentElement.scrollWidth, window.innerWidth];
document.body.insertAdjacentHTML("beforeend", "<pre id=found>" + JSON.stringify({tables, page}) + "</pre>");
</script></body>"""


def measure(page, width, folder):
    """Widths of contents and of frame: of each table, and of the page; with all that folds open."""
    copy = folder / "measured.html"
    copy.write_text(page.read_text().replace("</body>", MEASURE))
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    options += " --disable-component-update --disable-sync --dump-dom"
    command = [BROWSER, *options.split(), f"--user-data-dir={folder / 'profile'}", f"--window-size={width},2000"]
    done = subprocess.run([*command, copy.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', done.stdout)[1]))
