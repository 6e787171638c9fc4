"""One self-contained HTML page, and its figures, from run directories alone: nothing is run again for them."""

from __future__ import annotations

import base64
import io
import json
import warnings
from collections.abc import Sequence
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import Any

import jinja2
import matplotlib

from labelnoise.errors import InputError, check_path
from labelnoise.report.drawing import STYLE
from labelnoise.report.tables import NOTHING, realised_noise, stops_table
from labelnoise.runs.files import write_bytes
from labelnoise.runs.kinds import all_kinds
from labelnoise.runs.locks import lock_run
from labelnoise.runs.pages import Page, Panel, Picture, Quote, Section, Table, panel_of
from labelnoise.runs.reading import Run, read_run

TITLE = "Signal first, wrong labels later"


def write_report(path: str | Path) -> Path:
    """Write figures and report.html of a run directory, of `labelnoise reproduce`, or of a released train.csv.

    Args:
        path: a finished run; or a train.csv of the paper's released code, or the folder that holds one.

    Raises:
        InputError: the folder holds neither, or a damaged one.
    """
    check_path("path", path)
    path = Path(path)
    table = path / "train.csv" if path.is_dir() and not (path / "config.json").exists() else path
    if table.is_file():
        section = next(kind.foreign(table) for kind in all_kinds().values() if kind.foreign)
        with lock_run(table.parent, "report"):
            return _write_page(table.parent, [section])
    run = read_run(path)
    with lock_run(path, "report"):
        return _write_page(path, _sections(run), run)


def _sections(run: Run) -> Sequence[Section]:
    """Those that the kind makes of the run, or the one of a run of its own."""
    if run.command not in all_kinds():
        raise InputError(f"{run.path} is a run of {run.command!r}, which has no report; make it with this version")
    page = run.kind.page()
    if page.sections:
        return page.sections(run)
    several = len(run.settings.get("seeds", [])) > 1
    text = page.look + several * " Lines are means over the seeds, bands their range."
    return [Section("", run.name, text, page, (panel_of(run.name, [run]),))]


def _write_page(path: Path, sections: Sequence[Section], run: Run | None = None) -> Path:
    """Draw the pictures and fill in the template; `run` is the one whose folder `path` is."""
    runs = [run for section in sections for panel in section.panels for run in panel.runs]
    pages = _pages(sections)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = environment.from_string(files("labelnoise.report").joinpath("report.html.j2").read_text("utf-8")).render(
        title=(pages[0].title if len(pages) == 1 else "") or TITLE,
        lead=run.summary.get("text", "") if run else "",
        quotes=_quotes(sections),
        sections=[_shown(path, section) for section in sections],
        tables=[table for page in pages for table in _page_tables(page, sections)],
        pages=pages if runs else [],
        runs=[{"name": run.name, "settings": json.dumps(run.settings, indent=1)} for run in runs],
        versions=run.versions if run else {},
        commit=run.git_commit if run else None,
    )
    write_bytes(path / "report.html", text.encode(errors="backslashreplace"))  # names of files may be no UTF-8
    return path / "report.html"


def _pages(sections: Sequence[Section]) -> list[Page]:
    """What the kinds on the page say of their pages, each once."""
    return list({id(section.page): section.page for section in sections}.values())


QUOTES = 5
"""Numbers at the top of the page."""
Offer = tuple[Section, Quote]
"""A number for it, and whose it is."""


def _quotes(sections: Sequence[Section]) -> list[dict[str, str]]:
    """The numbers at the top, in the order of their sections: the kinds take turns, and no label comes twice."""
    turns = zip_longest(*(_offers(page, sections) for page in _pages(sections)))
    offers = [offer for turn in turns for offer in turn if offer]
    first_of_label: dict[str, Offer] = {}
    for section, quote in offers:
        first_of_label.setdefault(quote.label, (section, quote))
    chosen = [*first_of_label.values()][:QUOTES]
    return [
        {"label": quote.label, "value": quote.value, "gloss": quote.gloss, "where": _where(section, sections)}
        for section, quote in sorted(chosen, key=lambda offer: sections.index(offer[0]))
    ]


def _offers(page: Page, sections: Sequence[Section]) -> list[Offer]:
    """The numbers of one kind, the most telling first: the first one of its first section, the second of its second.

    So each section is quoted, though all have numbers of the same labels. Those that are not known come last.
    """
    own = [section for section in sections if section.page is page]
    quotes = [sorted(page.quotes(section.panels[0]), key=lambda quote: quote.value == NOTHING) for section in own]
    turns = [place % len(own) for place in range(len(quotes[0]))]
    return [(own[turn], quotes[turn][place]) for place, turn in enumerate(turns)]


def _where(section: Section, sections: Sequence[Section]) -> str:
    """Which setting a number is of, where the page shows several."""
    if len(sections) == len(section.panels) == 1:
        return ""
    return f"{section.title.partition(':')[0]}, {section.panels[0].title}"


def _page_tables(page: Page, sections: Sequence[Section]) -> Sequence[Table]:
    """The tables over all panels of one kind on the page."""
    panels = [panel for section in sections if section.page is page for panel in section.panels if panel.runs]
    return page.page_tables(panels) if panels else ()


def _shown(path: Path, section: Section) -> dict[str, Any]:
    """What the template needs of a section."""
    tables = section.page.section_tables(section.panels)
    pictures = [(picture.below, _draw(path, section, picture)) for picture in section.page.pictures(section.panels)]
    return {
        "title": section.title,
        "text": section.text,
        "above": [picture for below, picture in pictures if not below],
        "below": [picture for below, picture in pictures if below],
        "panels": [_facts(panel) for panel in section.panels if panel.runs],
        "stops": stops_table(section) if section.page.stops else None,
        "tables": tables,
        "sortable": any(table.sortable for table in tables),
    }


def _facts(panel: Panel) -> dict[str, str]:
    return {
        "title": panel.title,
        "names": ", ".join(run.name for run in panel.runs),
        "noise": realised_noise(panel.runs),
        "status": "; ".join(sorted({run.summary["status"] for run in panel.runs})),
    }


REM_PER_INCH = 5.5
"""Width on the page of an inch of a figure, so that letters are as large in each."""


def _draw(path: Path, section: Section, picture: Picture) -> dict[str, str]:
    """Draw a picture, write PNG and SVG, and return what the page needs, the SVG as a data address."""
    name = f"{section.name}-{picture.name}".removeprefix("-")
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # in a title, which the page says, too
        figure = picture.draw()
        drawn = {}
        for form, options in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=form, **options)
            figure.set_layout_engine("none")  # found by the first form, and costly
            drawn[form] = buffer.getvalue()
            write_bytes(path / "figures" / f"{name}.{form}", drawn[form])
    address = "data:image/svg+xml;base64," + base64.b64encode(drawn["svg"]).decode()
    return {
        "title": picture.title,
        "text": picture.text,
        "address": address,
        "alt": picture.title or section.title,
        "width": f"{REM_PER_INCH * figure.get_figwidth():.0f}",
    }
