"""The outline of a class or function: what it takes, read off its source without importing it.

Importing a class imports what it computes with, torch above all: seconds. What its settings may be
stands in the heads of constructors and in docstrings, so those alone are read here, and made a
class again that `schema` reads like any other. Nothing is stored that could be out of date. What is
imported already is taken as it is.
"""

import ast
import builtins
import contextlib
import functools
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: Decorators that change what a method takes.
METHODS = ("classmethod", "staticmethod")


class _Kind(type):
    """Lets what is not read be written like anything: as a type, a call, or a part of something."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Unread

    def __getitem__(cls, key: Any) -> Any:
        return Unread


class Unread(metaclass=_Kind):
    """Stands for what settings cannot write: tensors, networks, results of computations."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Give what a call of something unread gives: nothing to read."""
        return Unread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take anything: what it may be is not known."""


class _UnreadableError(Exception):
    """Something is made in a way that its source does not show."""


def outline_of(name: Any) -> Callable[..., Any] | None:
    """What a ``_target_`` names, as far as its settings go; None if its source does not show it."""
    try:
        return _outline(name) if isinstance(name, str) else None
    except Exception:  # whatever somebody else's source may hold
        return None


@functools.cache
def _outline(name: str) -> Callable[..., Any]:
    try:
        found = _found(name)
    except _UnreadableError:  # of a class, perhaps
        owner, _, method = name.rpartition(".")
        found = getattr(_found(owner, method), method)
    if found is Unread or not callable(found):
        raise _UnreadableError(name)
    return found


def _found(name: str, method: str | None = None) -> Any:
    """What a full name means: a class, with the head of a method if asked for, or a function."""
    module, _, last = name.rpartition(".")
    if not module or (read := _module(module)) is None:
        raise _UnreadableError(name)
    return read.outline(last, method)


@functools.cache
def _module(name: str) -> "_Module | None":
    """A module by its source; None if there is none."""
    package, _, last = name.rpartition(".")
    if not package:
        spec = importlib.util.find_spec(name)
    else:
        parent = _module(package)
        # The parent is looked at, not imported.
        places = parent.places if parent else None
        spec = importlib.machinery.PathFinder.find_spec(name, places) if places else None
    if spec is None:
        return None
    return _Module(name, spec.origin, list(spec.submodule_search_locations or ()))


class _Module:
    """The names of a module and what they are bound to.

    Args:
        name: its full name.
        file: its source; None for a namespace without.
        places: where its submodules lie, if it is a package.
    """

    def __init__(self, name: str, file: str | None, places: list[str]) -> None:
        self.name, self.places = name, places
        is_source = file is not None and file.endswith(".py")
        self._tree = ast.parse(Path(file).read_bytes()) if is_source else ast.Module([], [])
        self._bindings: dict[str, ast.stmt] = {}
        self._stars: list[str] = []
        self._docs: dict[str, ast.expr] = {}
        self._values: dict[str, Any] = {}
        for statement in _statements(self._tree.body):
            self._bind(statement)

    def _bind(self, statement: ast.stmt) -> None:
        match statement:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                self._bindings[name] = statement
            case ast.ImportFrom(names=[ast.alias(name="*")]):
                self._stars.append(self._absolute(statement))
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                for alias in names:
                    self._bindings[alias.asname or alias.name.split(".")[0]] = statement
            case ast.Assign(targets=[ast.Attribute(ast.Name(owner), "__doc__")], value=text):
                self._docs[owner] = text  # a docstring that is put together
            case ast.Assign(targets=targets):
                for target in targets:
                    for part in ast.walk(target):
                        if isinstance(part, ast.Name):
                            self._bindings[part.id] = statement
            case ast.AnnAssign(target=ast.Name(name), value=ast.expr()):
                self._bindings[name] = statement

    def outline(self, name: str, method: str | None = None) -> Any:
        """The outline of a class or function of this module, wherever it is defined.

        Args:
            name: of the class or function.
            method: of the class, if that is meant.
        """
        loaded = sys.modules.get(self.name)
        if loaded is not None and hasattr(loaded, name):
            return getattr(loaded, name)
        bound = self._bindings.get(name)
        if isinstance(bound, ast.ClassDef):
            return self._class(bound, method)
        if isinstance(bound, ast.FunctionDef):
            return self._run(_head(bound))[name]
        if isinstance(bound, ast.ImportFrom):
            return _found(self._origin(name), method)
        for star in self._stars:
            if (module := _module(star)) is not None:
                try:
                    return module.outline(name, method)
                except _UnreadableError:
                    continue
        raise _UnreadableError(f"{self.name}.{name}")

    def value(self, name: str) -> Any:
        """What a name means in annotations and defaults; `Unread` where that takes an import."""
        if name not in self._values:
            self._values[name] = Unread  # where it is defined by itself
            self._values[name] = self._read(name)
        return self._values[name]

    def _read(self, name: str) -> Any:
        loaded = sys.modules.get(self.name)
        if loaded is not None and hasattr(loaded, name):
            return getattr(loaded, name)
        bound = self._bindings.get(name)
        if isinstance(bound, ast.Assign | ast.AnnAssign):
            try:
                return self._run(_Unquoted().visit(bound))[name]
            except Exception:  # computed with what is not read
                return Unread
        if isinstance(bound, ast.Import):
            return _imported(self._origin(name)) or Unread
        if isinstance(bound, ast.ImportFrom):
            module, _, last = self._origin(name).rpartition(".")
            if (found := _imported(module)) is not None:
                return getattr(found, last, Unread)
            read = _module(module) if module.count(".") else None  # a package's head is long
            return read.value(last) if read else Unread
        if bound is None and hasattr(builtins, name):
            return getattr(builtins, name)
        return Unread

    @functools.cache  # noqa: B019 (modules live as long as the process)
    def _class(self, node: ast.ClassDef, method: str | None) -> type:
        """A class with the heads of its constructor, or another method, and its fields."""
        kept = [part for part in node.body if _is_docstring(part)]
        fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
        heads = {
            part.name: part
            for part in node.body
            if isinstance(part, ast.FunctionDef) and part.name in ("__init__", method)
        }
        decorators = [d for d in node.decorator_list if "dataclass" in ast.unparse(d)]
        head = heads.get(method or "__init__")
        # A base that takes no part is not looked for: it may lie in a library.
        alone = head is not None and head.args.kwarg is None and kept and not decorators
        bases = [] if alone else [self._base(base, method) for base in node.bases]
        body = [*kept, *(fields if decorators else ()), *map(_head, heads.values())]
        bare = ast.ClassDef(node.name, [], [], body or [ast.Pass()], [])
        names = self._namespace([bare, *decorators])
        made = _executed(bare, names)[node.name]
        namespace = {k: v for k, v in vars(made).items() if k not in ("__dict__", "__weakref__")}
        made = type(node.name, tuple(filter(None, bases)), namespace)
        made.__module__ = self.name
        if node.name in self._docs:
            written = ast.Assign([ast.Name("__doc__", ast.Store())], self._docs[node.name])
            made.__doc__ = self._run(written)["__doc__"]
        for decorator in decorators:
            made = eval(compile(ast.Expression(decorator), self.name, "eval"), names)(made)
        return made

    def _base(self, node: ast.expr, method: str | None) -> type | None:
        """The outline of a base class; `Unread` where there is none, None for what has no part."""
        first, *others = ast.unparse(node).split("[")[0].split(".")
        bound = self._bindings.get(first)
        if isinstance(bound, ast.ClassDef) and not others:
            return self._class(bound, method)
        if isinstance(bound, ast.Import | ast.ImportFrom):
            with contextlib.suppress(_UnreadableError):
                return _found(".".join([self._origin(first), *others]), method)
            return Unread
        return None if hasattr(builtins, first) or first == "Generic" else Unread

    def _origin(self, name: str) -> str:
        """Full name of what an import binds to a name."""
        statement = self._bindings[name]
        for alias in statement.names:
            if name == (alias.asname or alias.name.split(".")[0]):
                if isinstance(statement, ast.ImportFrom):
                    return f"{self._absolute(statement)}.{alias.name}"
                return alias.name if alias.asname else name
        raise _UnreadableError(name)

    def _absolute(self, statement: ast.ImportFrom) -> str:
        if not statement.level:
            return statement.module or ""
        package = self.name.split(".") if self.places else self.name.split(".")[:-1]
        package = package[: len(package) - (statement.level - 1)]
        return ".".join([*package, *filter(None, [statement.module])])

    def _run(self, statement: ast.stmt) -> dict[str, Any]:
        return _executed(statement, self._namespace([statement]))

    def _namespace(self, nodes: list[ast.AST]) -> dict[str, Any]:
        """What the names in some nodes mean."""
        names = {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}
        return {"__name__": self.name, **{name: self.value(name) for name in names}}


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements at the top of a module, also those under a condition."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try):
            handlers = [s for handler in getattr(statement, "handlers", ()) for s in handler.body]
            yield from _statements([*handlers, *statement.orelse, *statement.body])


def _head(function: ast.FunctionDef) -> ast.FunctionDef:
    """A function that does nothing, with the annotations, defaults and docstring of another."""
    kept = [part for part in function.body[:1] if _is_docstring(part)]
    kinds = [part for part in function.decorator_list if ast.unparse(part) in METHODS]
    arguments = _Unquoted().visit(function.args)
    return ast.FunctionDef(function.name, arguments, [*kept, ast.Pass()], kinds)


class _Unquoted(ast.NodeTransformer):
    """Types that are written as texts, as what they say."""

    _is_type = False

    def visit_arg(self, node: ast.arg) -> ast.arg:
        if node.annotation is None:
            return ast.arg(node.arg)
        return ast.arg(node.arg, self._type(node.annotation))

    def visit_Subscript(self, node: ast.Subscript) -> ast.Subscript:  # noqa: N802
        if ast.unparse(node.value).endswith("Literal"):
            return node
        return ast.Subscript(self.visit(node.value), self._type(node.slice), node.ctx)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:  # noqa: N802
        if self._is_type and isinstance(node.value, str):
            return self.visit(ast.parse(node.value, mode="eval").body)
        return node

    def _type(self, node: ast.expr) -> ast.expr:
        before, self._is_type = self._is_type, True
        node = self.visit(node)
        self._is_type = before
        return node


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _executed(statement: ast.stmt, names: dict[str, Any]) -> dict[str, Any]:
    module = ast.fix_missing_locations(ast.Module([statement], []))
    exec(compile(module, names["__name__"], "exec", dont_inherit=True), names)
    return names


def _imported(name: str) -> Any:
    """A module that is imported, or costs nothing to import; None if it is neither."""
    if name in sys.modules:
        return sys.modules[name]
    return importlib.import_module(name) if name.split(".")[0] in sys.stdlib_module_names else None
