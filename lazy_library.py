"""A library of which one name is wanted, without the rest that its package imports with it.

Lightning asks torchmetrics for two classes, to know objects of theirs when it sees them. But the
package imports all its metrics, and with them torchvision and SciPy: a third of what a start takes.
Here its names are bound when they are asked for; what is asked for is the same.
"""

import ast
import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

#: Packages whose ``__init__`` waits, and the part of each that their other parts want first.
LAZY = {"torchmetrics": "torchmetrics.utilities"}


class _Package(ModuleType):
    """A package whose ``__init__`` has run up to the first import of its own parts."""

    _origins: dict[str, tuple[str, str]]
    _rest: CodeType | None

    def __getattr__(self, name: str) -> Any:
        if name in self._origins and self._rest is not None:
            module, original = self._origins[name]
            try:
                importlib.import_module(LAZY[self.__name__])
                found = getattr(importlib.import_module(module), original)
            except ImportError:  # it wants more of its package than is there
                pass
            else:
                setattr(self, name, found)
                return found
        asks_python = name.startswith("__") and name != "__all__"
        if asks_python or self._rest is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        rest, self._rest = self._rest, None
        exec(rest, vars(self))
        return getattr(self, name)


class _Loader(SourceFileLoader):
    """Runs the head of a package's ``__init__``, and keeps the rest for later."""

    def exec_module(self, module: ModuleType) -> None:
        tree = ast.parse(Path(self.path).read_bytes())
        own = [s for s in tree.body if isinstance(s, ast.ImportFrom) and _is_part(s, self.name)]
        conditional = [s for s in tree.body if isinstance(s, ast.If)]
        begin = min((tree.body.index(s) for s in [*own, *conditional]), default=len(tree.body))
        head, rest = (ast.Module(part, []) for part in (tree.body[:begin], tree.body[begin:]))
        module.__class__ = _Package
        module._origins = {
            alias.asname or alias.name: (statement.module, alias.name)
            for statement in own
            for alias in statement.names
            if alias.name != "*" and statement.module != self.name
        }
        module._rest = compile(rest, self.path, "exec")
        exec(compile(head, self.path, "exec"), vars(module))


class _Finder:
    """Finds the packages that wait before Python's own finders do."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return loaded_by(_Loader, name, path) if name in LAZY else None


def loaded_by(
    loader: type[SourceFileLoader], name: str, path: Sequence[str] | None
) -> ModuleSpec | None:
    """Find a module for a loader of one's own; None where it is no source file."""
    spec = PathFinder.find_spec(name, path)
    if spec is None or not isinstance(spec.loader, SourceFileLoader):
        return None
    spec.loader = loader(spec.name, spec.loader.path)
    return spec


def install(finder: Any = _Finder) -> None:
    """Let what a finder finds and is not imported yet wait, from now on: by default packages."""
    if finder not in sys.meta_path:
        sys.meta_path.insert(0, finder)


def _is_part(statement: ast.ImportFrom, package: str) -> bool:
    """Whether a statement imports a part of the package, but not from its plain numbers."""
    module = statement.module or ""
    return module.split(".")[0] == package and not module.endswith("__about__")
