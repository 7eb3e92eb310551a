"""What turns the repository's Markdown into a site: README as first page, code as API pages."""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[2]

#: Packages with a page each, made from their docstrings.
PACKAGES = (
    "losses", "gans", "datamodules", "representations", "extractors",
    "evaluation", "records", "leaderboard", "search", "runs",
)  # fmt: skip

LINK = re.compile(r"(\[[^\]]*\])\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README and a page for each package."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=readme))
    for package in PACKAGES:
        page = f"# saddlepoint.{package}\n\n::: saddlepoint.{package}\n"
        files.append(File.generated(config, f"api/{package}.md", content=page))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that lead out of docs/ lead to API pages, or to a copy of the file they name."""
    # The README lies a folder higher than the page that is made of it.
    in_repository = PurePosixPath("docs", page.file.src_uri)
    folder = "" if page.file.src_uri == "index.md" else str(in_repository.parent)

    def on_site(link: re.Match) -> str:
        label, target, anchor = link[1], link[2], link[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        path = PurePosixPath(normpath(f"{folder}/{target}" if folder else target))
        if path.parts[0] == "docs":
            address = str(PurePosixPath(*path.parts[1:]))
        elif path.parts[0] in PACKAGES:
            module = ".".join(path.with_suffix("").parts)
            address, anchor = f"api/{path.parts[0]}.md", f"#saddlepoint.{module}"
        elif (REPOSITORY / path).is_file():
            address = f"files/{path}"
            if files.get_file_from_path(address) is None:
                content = (REPOSITORY / path).read_bytes()
                files.append(File.generated(config, address, content=content))
        elif (REPOSITORY / path).is_dir():
            return label[1:-1]
        else:
            return link[0]  # mkdocs says that it leads nowhere
        return f"{label}({relpath(address, str(PurePosixPath(page.file.src_uri).parent))}{anchor})"

    return LINK.sub(on_site, markdown)
