"""Metrics by the names they have in settings."""

from saddlepoint.evaluation.metrics.density_coverage import DensityCoverage
from saddlepoint.evaluation.metrics.fid import FID, IntraFID
from saddlepoint.evaluation.metrics.inception_score import InceptionScore
from saddlepoint.evaluation.metrics.kid import KID
from saddlepoint.evaluation.metrics.metric import Metric
from saddlepoint.evaluation.metrics.modes import Modes
from saddlepoint.evaluation.metrics.precision_recall import PrecisionRecall

METRICS: dict[str, type[Metric]] = {
    metric.name: metric
    for metric in (FID, IntraFID, InceptionScore, KID, PrecisionRecall, DensityCoverage, Modes)
}
