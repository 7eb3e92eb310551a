"""Power of real and generated images over spatial frequency."""

from collections.abc import Iterable

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from saddlepoint.datamodules.pixels import to_uint8
from saddlepoint.errors import UserError
from saddlepoint.evaluation.analysis.spectrum import RadialSpectrum
from saddlepoint.randomness import keyed_generator
from saddlepoint.runs.panels.panel import BATCH, Panel, Subject
from saddlepoint.runs.pictures import drawn

IMAGES = 2000  # of each side where nothing is said
COLOURS = {"real": "#1b6ca8", "generated": "#d1491b"}


def spectrum(subject: Subject) -> Panel:
    """The radial power spectra of real and generated images in one plot, with their spread.

    Lines are means over images of the logarithm of their power, bands one standard deviation to
    each side. Generated images are rounded to bytes first, as the real ones are.

    Raises:
        UserError: the run has no images, or its data are missing or others.
    """
    config = subject.config
    if not subject.has_images:
        raise UserError("what=spectrum needs a run on images, and this one has points.")
    count, spec = config.num_fake or IMAGES, subject.data.spec
    if min(count, config.num_real or count) < 2:
        raise UserError("A spectrum with its spread needs num_real and num_fake of at least 2.")
    order = torch.randperm(spec.num_items, generator=keyed_generator(config.seed, "spectrum"))
    chosen = order[: config.num_real or count].sort().values
    reals = (items.image for items in subject.data.real_batches(BATCH, chosen))
    fakes = (to_uint8(batch) for batch in subject.samples(count))
    spectra = {"real": _of(reals), "generated": _of(fakes)}
    return Panel(drawn(_plot(spectra, spec.name)))


def _of(batches: Iterable[Tensor]) -> RadialSpectrum:
    radial = RadialSpectrum()
    for images in batches:
        radial.update(images)
    return radial


def _plot(spectra: dict[str, RadialSpectrum], name: str) -> Figure:
    figure = Figure(figsize=(7, 4.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    for side, radial in spectra.items():
        # Ring 0 is brightness, and the last one holds the corner of the spectrum alone.
        mean, spread = radial.mean_log[1:-1].cpu(), radial.std_log[1:-1].cpu()
        radii = torch.arange(1, len(mean) + 1)
        axes.fill_between(
            radii,
            (mean - spread).exp(),
            (mean + spread).exp(),
            color=COLOURS[side],
            alpha=0.18,
            lw=0,
        )
        axes.plot(
            radii, mean.exp(), color=COLOURS[side], label=f"{side} ({radial.count:,})", lw=1.8
        )
    nyquist = min(radial.shape) / 2
    axes.axvline(nyquist, color="0.4", lw=1, ls="--", zorder=1.5)
    axes.set(
        yscale="log",
        xlim=(1, len(mean)),
        xlabel="frequency in cycles per image",
        ylabel="power of luminance",
        title=f"Radial power spectrum, {name}: mean and standard deviation over images",
    )
    axes.title.set_fontsize(11)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    above = axes.secondary_xaxis("top", functions=(lambda r: r / nyquist, lambda f: f * nyquist))
    above.set_xlabel("in units of the Nyquist frequency; beyond 1 only diagonals", fontsize=9)
    axes.grid(color="0.92")
    axes.legend(frameon=False)
    return figure
