"""What the documents name exists: files, headings, settings, and README's figures."""

import re
from pathlib import Path

import pytest

from infra import ROOT

NAMES = ("README.md", "CHANGELOG.md", "tests/README.md")
DOCUMENTS = [*(ROOT / name for name in NAMES), *ROOT.glob("docs/*.md")]
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]+)?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w./-]+/[\w.-]+\.(?:py|md|yaml|json|html|js|txt|svg|png|ts|mjs)")
SETTING = re.compile(r"(?:UPSTREAM|WEBHOOK|STANDIN|CLIENT|CLOCK|OPERATOR|SYNTHESIA|CORS|SIGNATURE)_[A-Z_]+")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
PATHS = {"/.well-known/jwks.json"}
PLACES = (ROOT, ROOT / "tests", ROOT / "functions", ROOT / "docs", ROOT / "infra" / "docker")
SETTINGS = {*SETTING.findall((ROOT / ".env.example").read_text())}


def slug(heading: str) -> str:
    """Return a heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(document: Path) -> set[str]:
    return {slug(heading) for heading in HEADING.findall(FENCE.sub("", document.read_text()))}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    """To a file of the repository, and to a heading in it; links to other sites are not followed."""
    for path, anchor in LINK.findall(FENCE.sub("", document.read_text())):
        if "://" in path:
            continue
        target = document.parent / path if path else document
        assert target.exists(), path
        if anchor:
            assert anchor[1:] in anchors(target), f"{path}{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_and_setting_that_is_named_exists(document: Path) -> None:
    """A renamed one is renamed in the documents too."""
    named = CODE.findall(FENCE.sub("", document.read_text()))
    files = [name for code in named for name in FILE.findall(code) if "://" not in code and name not in PATHS]
    assert [name for name in files if not any((place / name).exists() for place in PLACES)] == []
    assert {name for code in named for name in SETTING.findall(code)} <= SETTINGS


def test_readmes_figures_are_those_of_the_benchmarks() -> None:
    """Each measured figure in README's table of promises is in the page that it links to."""
    readme = (ROOT / "README.md").read_text()
    measured = "".join((ROOT / "docs" / name).read_text() for name in ("benchmarks.md", "window.md"))
    table = readme.partition("| promise |")[2].partition("\n\n")[0].splitlines()[2:]
    rows = [row.split("|")[2] for row in table]
    figures = [figure for row in rows for figure in re.findall(r"\d[\d,.]*\d(?: [%s])?", row)]
    assert len(figures) > 2
    assert [figure for figure in figures if figure not in measured] == []
