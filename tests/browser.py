"""What a browser makes of a page, where there is one."""

import html
import json
import re
import shutil
import subprocess

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
MEASURE = """
document.querySelectorAll("details").forEach(part => part.open = true);
const tables = [...document.querySelectorAll(".scroll")].map(part => [part.scrollWidth, part.clientWidth]);
return {tables, page: [document.documentElement.scrollWidth, window.innerWidth]};
"""


def measure(page, width, folder):
    """Widths of contents and of frame: of each table, and of the page; with all that folds open."""
    return evaluate(page, MEASURE, folder, width)


def evaluate(page, script, folder, width=1_200):
    """What a script returns that is run at the end of a page."""
    copy = folder / "evaluated.html"
    told = f"const told = JSON.stringify((() => {{{script}}})()), place = document.createElement('pre');"
    told += " place.id = 'told'; place.textContent = told; document.body.append(place);"
    copy.write_text(page.read_text().replace("</body>", f"<script>{told}</script></body>"))
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    options += " --disable-component-update --disable-sync --dump-dom"
    command = [BROWSER, *options.split(), f"--user-data-dir={folder / 'profile'}", f"--window-size={width},2000"]
    done = subprocess.run([*command, copy.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return json.loads(html.unescape(re.search(r'<pre id="told">(.*?)</pre>', done.stdout)[1]))
