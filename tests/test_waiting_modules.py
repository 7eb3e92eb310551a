"""Modules that wait: who is answered without them, and that all others get the module itself."""

import subprocess
import sys

import pytest
from train_cli import ROOT

#: Each program runs in a Python of its own, after this.
BEGIN = """
import sys
from saddlepoint import waiting_modules
from saddlepoint.waiting_modules import COMPILER, PLOTS, STAND_INS, waits
import torch

def there():
    return "torch._dynamo.eval_frame" in sys.modules
"""

USES = {
    "a step of an optimiser asks for nothing, and is left alone by a compiler that comes": """
import saddlepoint.gans
for kind in (torch.optim.Adam, torch.optim.SGD):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = kind([weight], lr=0.5)
    weight.sum().backward()
    optimizer.step()
    optimizer.zero_grad()
assert torch.equal(weight, torch.full((3,), 0.5)) and optimizer.state_dict()
assert waits(COMPILER) and not there()
add = torch.optim.Optimizer.add_param_group.__wrapped__
assert vars(add)["__dynamo_disable"] is add
import torch._dynamo
torch._dynamo.config
assert "__dynamo_disable" not in vars(add)
optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2))]})
assert vars(add)["__dynamo_disable"]._torchdynamo_disable
compiled = torch.compile(lambda: optimizer.step(), backend="eager")
weight.grad = torch.ones(3)
compiled()
assert torch.equal(weight, torch.zeros(3))
""",
    "compiled networks work and are known to Lightning": """
import pytorch_lightning
from lightning_fabric.wrappers import _unwrap_compiled
from pytorch_lightning.utilities import compile as of_lightning
assert of_lightning.OptimizedModule is waiting_modules.OptimizedModule
class Doubles(pytorch_lightning.LightningModule):
    def forward(self, image):
        return 2 * image
plain = Doubles()
assert not isinstance(plain, of_lightning.OptimizedModule)
assert not issubclass(Doubles, of_lightning.OptimizedModule)
assert _unwrap_compiled(plain) == (plain, None) and waits(COMPILER) and not there()
compiled = torch.compile(plain, backend="eager")
assert torch.equal(compiled(torch.ones(2)), 2 * torch.ones(2))
assert type(compiled) is torch._dynamo.OptimizedModule is sys.modules[COMPILER].OptimizedModule
assert isinstance(compiled, of_lightning.OptimizedModule)
assert issubclass(type(compiled), of_lightning.OptimizedModule)
assert not isinstance(plain, of_lightning.OptimizedModule)
assert _unwrap_compiled(compiled) == (plain, {"backend": "eager"})
assert of_lightning.from_compiled(compiled) is plain
""",
    "what Lightning keeps from the compiler is kept from it": """
from pytorch_lightning.trainer.connectors.logger_connector import result
if waits(COMPILER):  # older ones of Lightning's disable nothing
    assert not there()
    seen = []
    def reached(x):
        seen.append(torch.compiler.is_compiling())
        return x + 1
    space = {"__name__": result.__name__, "torch": torch, "reached": reached}
    exec("kept = torch.compiler.disable(reached)", space)
    assert waits(COMPILER) and space["kept"](1) == 2
    kept = space["kept"]
    compiled = torch.compile(lambda x: kept(2 * x) * 3, backend="eager")
    assert torch.equal(compiled(torch.ones(2)), torch.full((2,), 9.0))
    assert seen == [False, False]
""",
    "a process group begins": """
import pytorch_lightning
assert waits(COMPILER)
torch.distributed.init_process_group(
    "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
)
torch.distributed.all_reduce(torch.ones(2))
torch.distributed.destroy_process_group()
assert waits(COMPILER) and not there()
""",
    "a decorator of one's own is the compiler's": """
import pytorch_lightning
own = torch.compiler.disable(lambda x: x + 1)
assert there() and own._torchdynamo_disable and own(1) == 2
""",
    "a torch that keeps the compiler's answer elsewhere gets the compiler's": """
import torch._dynamo
space = {"__name__": "torch._compile", "torch": torch, "own": lambda x: x + 1}
exec("kept = torch._dynamo.disable(own, True, wrapping=False)", space)
assert there() and space["kept"]._torchdynamo_disable and space["kept"](1) == 2
""",
    "Lightning that gives a reason gets the compiler's": """
import pytorch_lightning
module = "pytorch_lightning.trainer.connectors.logger_connector.result"
space = {"__name__": module, "torch": torch, "own": lambda x: x + 1}
exec("kept = torch.compiler.disable(own, reason='a reason')", space)
assert there() and space["kept"]._torchdynamo_disable and space["kept"](1) == 2
""",
    "a part comes after its package": """
import torch._dynamo.config as config
assert there() and not waits(COMPILER)
assert sys.modules["torch._dynamo.config"] is config is torch._dynamo.config
assert torch._dynamo.eval_frame.config is config
assert config.__spec__.name == "torch._dynamo.config" and config.__spec__.loader.path
""",
    "a part of a part comes after its package, which was asked for already": """
import pytorch_lightning
assert waits(COMPILER)
from torch._dynamo.variables.base import VariableTracker
assert torch._dynamo.variables.base.VariableTracker is VariableTracker
assert torch._dynamo.symbolic_convert.VariableTracker is VariableTracker
assert type(torch._dynamo) is type(sys) and sys.modules[COMPILER] is torch._dynamo
""",
    "a name is the module's, also to those who kept the one that waited": """
from torch import _dynamo as kept
assert waits(COMPILER) and not there() and not hasattr(kept, "__wrapped__")
from torch._dynamo import OptimizedModule, graph_break
assert OptimizedModule is torch._dynamo.eval_frame.OptimizedModule
assert graph_break is torch._dynamo.decorators.graph_break is kept.graph_break
assert sys.modules[COMPILER] is torch._dynamo is not kept
assert set(torch._dynamo.__all__) <= set(dir(kept))
kept.mark = 3
assert torch._dynamo.mark == 3
del kept.mark
assert not hasattr(torch._dynamo, "mark")
try:
    kept.nothing
except AttributeError as error:
    assert str(error) == "module 'torch._dynamo' has no attribute 'nothing'"
""",
    "a star takes all names": """
from torch._dynamo import *
assert there() and optimize is torch._dynamo.optimize
""",
    "threads that ask at once get one module": """
from concurrent.futures import ThreadPoolExecutor
import torch._dynamo
kept = torch._dynamo
asked = ["config", "eval_frame", "optimize", "reset"]
with ThreadPoolExecutor(4) as threads:
    found = list(threads.map(lambda name: getattr(kept, name), asked))
assert found == [getattr(torch._dynamo, name) for name in asked]
""",
    "metrics plot": """
import pytorch_lightning
assert waits(PLOTS) and "matplotlib" not in sys.modules
from torchmetrics import MeanMetric
metric = MeanMetric()
metric.update(torch.ones(2))
figure, axes = metric.plot()
import matplotlib
assert isinstance(axes, matplotlib.axes.Axes) and not waits(PLOTS)
import torchmetrics.utilities.plot
assert torchmetrics.utilities.plot._AX_TYPE is matplotlib.axes.Axes
assert type(torchmetrics.utilities.plot) is type(sys)
""",
    "Lightning counts operations": """
import pytorch_lightning
from pytorch_lightning.utilities.model_summary import ModelSummary
from saddlepoint.waiting_modules import FLOPS
assert waits(FLOPS)
class Layer(pytorch_lightning.LightningModule):
    example_input_array = torch.ones(3, 4)
    def __init__(self):
        super().__init__()
        self.weights = torch.nn.Linear(4, 5, bias=False)
    def forward(self, x):
        return self.weights(x)
assert ModelSummary(Layer()).total_flops == 2 * 3 * 4 * 5
import torch.utils.flop_counter
assert not waits(FLOPS) and type(torch.utils.flop_counter) is type(sys)
""",
    "what is there already stays": """
sys.meta_path.remove(waiting_modules._Finder)
import torch._dynamo
module = sys.modules[COMPILER]
waiting_modules.install()
import lightning_fabric.wrappers
assert lightning_fabric.wrappers.OptimizedModule is module.OptimizedModule
assert sys.modules[COMPILER] is module and type(module) is type(sys)
""",
    "what is no source file is left to Python": """
from importlib.machinery import ModuleSpec, PathFinder
found = PathFinder.find_spec
class Other:
    create_module = exec_module = None
PathFinder.find_spec = lambda name, path=None: ModuleSpec(name, Other())
assert waiting_modules._Finder.find_spec(COMPILER) is None
PathFinder.find_spec = lambda name, path=None: None
assert waiting_modules._Finder.find_spec(COMPILER) is None
PathFinder.find_spec = found
assert waiting_modules._Finder.find_spec("torch._dynamo.config") is None
import importlib, torch._dynamo
torch._dynamo.config
assert waiting_modules._Finder.find_spec(COMPILER) is None
""",
}


@pytest.mark.parametrize("use", USES)
def test_a_module_that_waits(use):
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + USES[use]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
