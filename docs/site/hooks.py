"""What turns the repository's Markdown into a site: README as first page, code as API pages."""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from tempfile import TemporaryDirectory

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[2]

#: Packages with a page each, made from their docstrings.
PACKAGES = (
    "losses", "gans", "datamodules", "representations", "extractors",
    "evaluation", "records", "leaderboard", "search", "runs", "exports",
)  # fmt: skip

#: Pages that lie beside docs/, where people look for them first.
BESIDE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}

LINK = re.compile(r"(\[[^\]]*\])\(([^)#\s]+)(#[^)\s]*)?\)")

#: Holds the repository under its package's name, whatever the clone's folder is called.
NAMED = TemporaryDirectory(prefix="saddlepoint-site-")


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let the API pages be read from this repository."""
    package = Path(NAMED.name, "saddlepoint")
    if not package.exists():
        package.symlink_to(REPOSITORY, target_is_directory=True)
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [NAMED.name]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages beside docs/, and one for each package."""
    for source, address in BESIDE.items():
        content = (REPOSITORY / source).read_text(encoding="utf-8")
        files.append(File.generated(config, address, content=content))
    for package in PACKAGES:
        page = f"# saddlepoint.{package}\n\n::: saddlepoint.{package}\n"
        files.append(File.generated(config, f"api/{package}.md", content=page))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that lead out of docs/ lead to API pages, or to a copy of the file they name."""
    is_beside = page.file.src_uri in BESIDE.values()
    folder = "." if is_beside else str(PurePosixPath("docs", page.file.src_uri).parent)

    def on_site(link: re.Match) -> str:
        label, target, anchor = link[1], link[2], link[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        path = PurePosixPath(normpath(f"{folder}/{target}"))
        if path.parts[0] == "docs":
            address = str(PurePosixPath(*path.parts[1:]))
        elif str(path) in BESIDE:
            address = BESIDE[str(path)]
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
