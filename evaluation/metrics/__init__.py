"""Metrics by the names they have in settings."""

from evaluation.metrics.density_coverage import DensityCoverage
from evaluation.metrics.fid import FID, IntraFID
from evaluation.metrics.inception_score import InceptionScore
from evaluation.metrics.kid import KID
from evaluation.metrics.metric import Metric
from evaluation.metrics.modes import Modes
from evaluation.metrics.precision_recall import PrecisionRecall

METRICS: dict[str, type[Metric]] = {
    metric.name: metric
    for metric in (FID, IntraFID, InceptionScore, KID, PrecisionRecall, DensityCoverage, Modes)
}
