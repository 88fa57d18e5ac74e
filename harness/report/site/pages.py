"""Templates, and where pages lie in the report."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.files import write_atomically
from harness.core.sizes import format_size
from harness.report.site import facts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HERE = Path(__file__).parent
_STARTED = re.compile(r"(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)-")


class Pages:
    """Renders templates into the report; a page that is the same already stays as it is."""

    def __init__(self, target: Path) -> None:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        self.target = target
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {"letters": facts.LETTERS, "cell_page": cell_page, "bars": bars}
        self._environment.filters |= {"span": span, "size": format_size, "started": started}

    def write(self, template: str, page: str, /, **values: Any) -> None:
        """Render a template as the page of this path, with `root` for the way back to the report's."""
        values["root"] = "../" * page.count("/")
        text = self._environment.get_template(template).render(values)
        path = self.target / page
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if path.read_text("utf-8") == text:
                return
        except (FileNotFoundError, UnicodeDecodeError):
            pass
        write_atomically(path, text)

    def write_parts(self, template: str, stem: str, parts: Sequence[Mapping[str, Any]], **same: Any) -> None:
        """Render a template as a page for each part; the first has the template's name, others a number."""
        names = [template, *(f"{stem}-{number}.html" for number in range(2, len(parts) + 1))]
        for name, part in zip(names, parts, strict=True):
            self.write(template, name, **same, **part, pages=names, page=name)
        self.keep(f"{stem}-*.html", set(names))

    def keep(self, pattern: str, pages: set[str]) -> None:
        """Remove pages that fit a pattern and are none of these."""
        for path in self.target.glob(pattern):
            if path.relative_to(self.target).as_posix() not in pages:
                path.unlink()


def copy_assets(target: Path) -> None:
    """Put style and scripts beside the pages."""
    (target / "assets").mkdir(exist_ok=True)
    for path in sorted((_HERE / "assets").iterdir()):
        other = target / "assets" / path.name
        if not other.exists() or other.read_bytes() != path.read_bytes():
            shutil.copyfile(path, other)


def cell_page(cell: str) -> str:
    """Where the page of a cell is."""
    safe = re.sub(r"[^0-9A-Za-z.-]+", "_", cell)[:80]
    return f"cells/{safe}-{hashlib.sha256(cell.encode()).hexdigest()[:8]}.html"


def span(seconds: float) -> str:
    """Seconds for people: "4.2 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def started(run: str) -> str:
    """When a run began, in UTC, as its id tells; "" where it does not."""
    match = _STARTED.match(run)
    return "{}-{}-{} {}:{}:{}".format(*match.groups()) if match else ""


def bars(values: Sequence[float], height: int) -> list[int]:
    """Heights of bars for some numbers, from zero, so that equal heights mean equal numbers."""
    top = max(values, default=0.0)
    return [max(2, round(value / top * height)) if top > 0 else 2 for value in values]
