"""A generator as a program that needs no Saddlepoint: TorchScript, torch.export, ONNX.

All take ``latents`` (n, d), and ``classes`` (n,) int64 (or ``condition`` (n, d)) where samples are
asked for something, for any n; they compute in float32. Each is run once and compared with the
generator before it is written.
"""

import io
import tempfile
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.exports.generator import TrainedGenerator
from saddlepoint.randomness import Draws

#: Relative to the range of the samples; programs multiply in another order, and fuse.
TOLERANCE = 1e-4
TRACED, CHECKED = 2, 3  # samples it is traced with, and compared on


class Program(nn.Module):
    """What is written: latents, and what is asked for, to samples (n, *shape).

    Args:
        generator: whose samples they are.
        for_fidelity: give images as torch-fidelity takes them: uint8 (n, 3, h, w), from its own
            kinds of noise (those of U(0, 1) for latents from U(-1, 1)).
    """

    def __init__(self, generator: TrainedGenerator, for_fidelity: bool = False) -> None:
        super().__init__()
        self.network = generator.plain_network()
        self.for_fidelity = for_fidelity
        self.is_uniform = generator.prior == "uniform"

    def forward(self, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        """Float samples, images in [-1, 1]; or uint8."""
        if not self.for_fidelity:
            return self.network(latents, condition).float()
        latents = latents * 2 - 1 if self.is_uniform else latents
        images = self.network(latents, condition).float().clamp(-1, 1)
        images = ((images + 1) * 127.5).round().to(torch.uint8)
        return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


class Kind:
    """One way to write a program.

    Args:
        file: its name.
        needs: packages that write it.
        write: bytes of a program traced with some inputs.
        run: what the program gives for inputs.
        for_fidelity: see `Program`.
    """

    def __init__(
        self,
        file: str,
        needs: Sequence[str],
        write: Callable[[Program, list[Tensor], list[str]], bytes],
        run: Callable[[bytes, list[Tensor]], Tensor],
        for_fidelity: bool = False,
    ) -> None:
        self.file, self.needs, self.write, self.run = file, tuple(needs), write, run
        self.for_fidelity = for_fidelity

    @property
    def missing(self) -> str | None:
        """The first package that is not here."""
        return next((name for name in self.needs if find_spec(name) is None), None)


def program(generator: TrainedGenerator, name: str) -> bytes:
    """Write a program and compare it with the generator.

    Args:
        generator: with latents.
        name: one of `KINDS`.

    Raises:
        UserError: packages are missing, it cannot be written, or it draws something else.
    """
    kind = KINDS[name]
    if kind.missing:
        raise UserError(
            f"formats={name} needs the package {kind.missing}, which is not here: pip install"
            " 'saddlepoint[export]', or leave it out of formats=."
        )
    if kind.for_fidelity and len(generator.shape) != 3:
        kind = Kind(kind.file, kind.needs, kind.write, kind.run)  # points stay floats
    source = Program(generator, kind.for_fidelity).eval()
    names = ["latents", *([] if generator.task.condition is None else [_asked_as(generator)])]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch is going to replace some day
        try:
            written = kind.write(source, _inputs(generator, TRACED), names)
            inputs = _inputs(generator, CHECKED)
            found, expected = kind.run(written, inputs), source(*inputs)
        except Exception as error:  # exporters and runtimes raise what they like
            cause = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(
                f"This generator cannot be written as {name} ({cause}): leave it out of formats=."
            ) from error
    # A value on the border of two bytes may fall to either side.
    allowed = 1.0 if found.dtype == torch.uint8 else TOLERANCE * float(expected.abs().max())
    off = float((found.double() - expected.double()).abs().max())
    if found.shape != expected.shape or found.dtype != expected.dtype or not off <= allowed:
        raise UserError(
            f"What was written as {name} draws something else (off by {off:.2g}): leave it out of"
            " formats=."
        )
    return written


def _inputs(generator: TrainedGenerator, n: int) -> list[Tensor]:
    """Latents, and what is asked for, of no particular samples."""
    draws = Draws(0, "program")
    latents = draws.uniform(n, generator.network.latent_dim)
    condition = generator.task.condition
    return [latents, *([] if condition is None else [condition.draw(draws, n).cpu()])]


def _asked_as(generator: TrainedGenerator) -> str:
    return "classes" if generator.task.condition.kind == "classes" else "condition"


# TorchScript --------------------------------------------------------------------------------------


def _torchscript(source: Program, inputs: list[Tensor], names: list[str]) -> bytes:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.trace(source, tuple(inputs), check_trace=False), stream)
    return stream.getvalue()


def _run_torchscript(written: bytes, inputs: list[Tensor]) -> Tensor:
    return torch.jit.load(io.BytesIO(written))(*inputs)


# torch.export -------------------------------------------------------------------------------------


def _pt2(source: Program, inputs: list[Tensor], names: list[str]) -> bytes:
    any_number = tuple({0: torch.export.Dim.AUTO} for _ in inputs)
    made = torch.export.export(source, tuple(inputs), dynamic_shapes=any_number)
    stream = io.BytesIO()
    torch.export.save(made, stream)
    return stream.getvalue()


def _run_pt2(written: bytes, inputs: list[Tensor]) -> Tensor:
    return torch.export.load(io.BytesIO(written)).module()(*inputs)


# ONNX ---------------------------------------------------------------------------------------------


def _onnx(source: Program, inputs: list[Tensor], names: list[str]) -> bytes:
    made = torch.onnx.export(
        source,
        tuple(inputs),
        dynamo=True,
        input_names=names,
        output_names=["samples"],
        dynamic_shapes=tuple({0: torch.export.Dim.AUTO} for _ in inputs),
        verbose=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.onnx"
        made.save(path, external_data=False)
        return path.read_bytes()


def _run_onnx(written: bytes, inputs: list[Tensor]) -> Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    given = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    return torch.from_numpy(session.run(None, given)[0])


#: What ``formats=`` takes.
KINDS = {
    "torchscript": Kind("generator.pth", (), _torchscript, _run_torchscript, for_fidelity=True),
    "pt2": Kind("generator.pt2", (), _pt2, _run_pt2),
    "onnx": Kind("generator.onnx", ("onnx", "onnxscript", "onnxruntime"), _onnx, _run_onnx),
}
