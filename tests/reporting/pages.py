"""Reading a report in tests."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "hr", "input"}
#: What makes a browser fetch something.
FETCHING = {
    "src", "srcset", "href", "xlink:href", "action", "data", "poster", "background", "formaction",
}  # fmt: skip


class Page(HTMLParser):
    """Tags, ids, links and text of a page; complains where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = text
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.problems: list[str] = []
        self.feed(text)
        self.close()
        self.problems += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.problems.append(f"</{tag}> closes {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        """What a reader reads, on one line."""
        return " ".join("".join(self.words).split())

    def count(self, tag: str) -> int:
        """How many there are of a tag."""
        return sum(t == tag for t, _ in self.tags)

    @property
    def ids(self) -> list[str]:
        """Every id."""
        return [a["id"] or "" for _, a in self.tags if "id" in a]

    @property
    def links(self) -> list[str]:
        """Every target of a link that a reader may follow."""
        return [a["href"] or "" for t, a in self.tags if t == "a" and "href" in a]


def external(text: str) -> list[str]:
    """Whatever in a page would reach for something outside of it, links to follow apart."""
    page = Page(text)
    found = [
        f"{tag} {name}={value}"
        for tag, attributes in page.tags
        for name, value in attributes.items()
        if name in FETCHING and not _inside(tag, value or "")
    ]
    found += [
        f"<{t}>" for t, _ in page.tags if t in ("script", "iframe", "object", "embed", "base")
    ]
    found += [
        f"{t} {name}" for t, attributes in page.tags for name in attributes if name.startswith("on")
    ]
    found += re.findall(r"@import[^;]*|url\((?!#|[\"']?data:)[^)]*\)", text)
    allowed = ("http://www.w3.org/",)
    return found + [
        url for url in re.findall(r"https?://[^\s\"'<>]+", text) if not url.startswith(allowed)
    ]


def _inside(tag: str, value: str) -> bool:
    if tag == "a":
        return value.startswith(("#", "tables/"))
    return value.startswith(("#", "data:"))
