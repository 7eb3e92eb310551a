"""Lines of progress in files that nobody watches."""

import io

from saddlepoint.evaluation.progress_lines import ProgressLines


def test_at_most_a_line_every_half_minute():
    now, file = [0.0], io.StringIO()
    tell = ProgressLines(file, clock=lambda: now[0])
    for done in range(1, 101):
        now[0] += 1
        tell("generated images", done, 100)
    assert file.getvalue().splitlines() == [
        "generated images: 31 of 100 (31%)",
        "generated images: 61 of 100 (61%)",
        "generated images: 91 of 100 (91%)",
    ]
    now[0] += 1000
    tell("generated images", 1, 100)  # the next pass begins
    tell("real images", 5, 5)
    assert len(file.getvalue().splitlines()) == 3
