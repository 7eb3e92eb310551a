"""Modules that are imported for a name or two which mean nothing yet.

Lightning imports torch's compiler for one class, to know compiled networks by it, and torch's
optimisers tell the compiler in every step what it is to leave alone; torchmetrics imports
matplotlib for metrics that plot themselves; and where Lightning counts operations torch imports
Triton. That is half of what a start takes, and most runs do none of this. So those who ask get the
stand-ins below, in place of the module. It is imported, by Python's own import and from its
beginning, as soon as anything else is asked of it, or anyone else asks: a part of it,
``torch.compile``, `dir`.
"""

import importlib
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import FrameType, FunctionType, ModuleType, SimpleNamespace
from typing import Any
from weakref import WeakSet

from saddlepoint import lazy_library

COMPILER, PLOTS = "torch._dynamo", "torchmetrics.utilities.plot"
FLOPS = "torch.utils.flop_counter"

_wanted: set[str] = set()  # modules that wait no longer
_taking = threading.Lock()
_enabled: WeakSet[FunctionType] = WeakSet()


class _IsCompiled(type):
    """Asks the compiler's class if there is one: without it nothing has been compiled."""

    def __instancecheck__(cls, thing: object) -> bool:
        return not waits(COMPILER) and isinstance(thing, _imported(COMPILER).OptimizedModule)

    def __subclasscheck__(cls, kind: type) -> bool:
        return not waits(COMPILER) and issubclass(kind, _imported(COMPILER).OptimizedModule)


class OptimizedModule(metaclass=_IsCompiled):
    """What ``torch.compile`` makes of a network, to `isinstance`."""


def graph_break() -> None:
    """Says where the compiler is to begin anew: nothing, as it is without a compiler."""


def disable(function: FunctionType, *options: Any, **named: Any) -> Any:
    """A function that the compiler is to leave alone: itself, until there is a compiler.

    torch keeps the answer in ``__dynamo_disable`` of the function, where it is dropped then.
    """
    if "__dynamo_disable" not in sys._getframe(1).f_code.co_names:
        return _imported(COMPILER).disable(function, *options, **named)
    _enabled.add(function)
    return function


def disable_later(function: Any, recursive: bool = True, *, reason: str | None = None) -> Any:
    """The same for a decorated function: torch's own wrapper, which disables when it is called."""
    try:
        from torch._compile import _disable_dynamo
    except ImportError:
        _disable_dynamo = None
    if _disable_dynamo is None or reason is not None or not isinstance(function, FunctionType):
        return _imported(COMPILER).disable(function, recursive, reason=reason)
    return _disable_dynamo(function, recursive)


def plot_single_or_multi_val(*values: Any, **named: Any) -> Any:
    """Plots a metric."""
    return _imported(PLOTS).plot_single_or_multi_val(*values, **named)


def FlopCounterMode(*arguments: Any, **named: Any) -> Any:  # noqa: N802
    """Counts floating-point operations."""
    return _imported(FLOPS).FlopCounterMode(*arguments, **named)


_METRIC = {  # two of its names are types, read in annotations alone
    "plot_single_or_multi_val": plot_single_or_multi_val,
    "_AX_TYPE": object,
    "_PLOT_OUT_TYPE": object,
}

#: The modules that wait, who may ask each, and what they get.
STAND_INS: dict[str, dict[str, dict[str, Any]]] = {
    COMPILER: {
        "lightning_fabric.wrappers": {"OptimizedModule": OptimizedModule},
        "pytorch_lightning.utilities.compile": {"OptimizedModule": OptimizedModule},
        "pytorch_lightning.trainer.connectors.logger_connector.result": {"disable": disable_later},
        "torch.optim.optimizer": {"graph_break": graph_break},
        "torch._compile": {"disable": disable},
        # A process group lets the compiler forget which code it traces: it knows none yet.
        "torch.distributed.distributed_c10d": {
            "trace_rules": SimpleNamespace(clear_lru_cache=lambda: None)
        },
    },
    FLOPS: {
        "pytorch_lightning.utilities.model_summary.model_summary": {
            "FlopCounterMode": FlopCounterMode
        },
    },
    PLOTS: {"torchmetrics.metric": _METRIC, "torchmetrics.collections": _METRIC},
}


class _Waiting(ModuleType):
    """Stands where the module will be; for those who keep it, it passes everything on to that."""

    def __getattr__(self, name: str) -> Any:
        if self.__name__ not in _wanted:
            answers = STAND_INS[self.__name__].get(_asking(), {})
            if name in answers:
                return answers[name]
            if name.startswith("__") and name != "__all__":  # Python, looking through all modules
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(_imported(self.__name__), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):
            super().__setattr__(name, value)
        else:
            setattr(_imported(self.__name__), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_imported(self.__name__), name)

    def __dir__(self) -> list[str]:
        return dir(_imported(self.__name__))


class _Loader(SourceFileLoader):
    """Makes a module that waits."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Waiting(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _There:
    """Gives the module that came with its package while it was looked for."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__
        # Python goes on with this, and would run the module once more by its own.
        vars(module)["__spec__"] = ModuleSpec(module.__name__, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__spec__"] = self.spec


class _Finder:
    """Finds the modules that wait, and what their parts need, before Python's own finders do."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package = name.rpartition(".")[0]
        if waits(package):  # parts import one another in the order of their package's __init__
            _imported(package)
            part = sys.modules.get(name)
            return None if part is None else _There(part).module.__spec__
        if name not in STAND_INS or name in _wanted or target is not None:
            return None
        return lazy_library.loaded_by(_Loader, name, path)


def install() -> None:
    """Let the modules that are not imported yet wait, from now on."""
    lazy_library.install(_Finder)


def waits(name: str) -> bool:
    """Whether a module has been imported in name only."""
    return isinstance(sys.modules.get(name), _Waiting)


def _imported(name: str) -> ModuleType:
    """The module itself."""
    with _taking:
        if waits(name):
            _wanted.add(name)
            waiting = sys.modules.pop(name)
            package, _, part = name.rpartition(".")
            if vars(sys.modules[package]).get(part) is waiting:
                delattr(sys.modules[package], part)
            for function in _enabled if name == COMPILER else ():
                vars(function).pop("__dynamo_disable", None)
    return importlib.import_module(name)


def _asking() -> str:
    """The name of the module whose code asks the one that waits."""
    frame = sys._getframe(2)
    while frame.f_back is not None and _passes_on(frame):
        frame = frame.f_back
    return frame.f_globals.get("__name__", "")


def _passes_on(frame: FrameType) -> bool:
    """Whether code only asks for another: an import, or ``torch.compiler.disable``."""
    imports = frame.f_code.co_filename.startswith("<frozen importlib")
    return imports or frame.f_globals.get("__name__") == "torch.compiler"
