"""Notebooks without a kernel: their cells are run in one process, one after the other.

``python tests/notebooks.py docs/notebooks/first_run.ipynb`` runs one in an empty folder and stores
what its cells show.
"""

import ast
import base64
import contextlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path

from PIL import Image

#: What differs from run to run: names of folders, and how fast this machine was at the moment.
PLACE = re.compile(r"outputs/\S+?-\d{8}-\d{6}-\w{4}")
STATUS = re.compile(r"\d+/\d+ .* left\n")


def run_cell(source, names):
    """Run a cell; return its output cells: what it printed, and its last expression."""
    tree = ast.parse(source)
    last = tree.body[-1] if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    statements = ast.Module(tree.body[:-1] if last else tree.body, [])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(statements, "<cell>", "exec"), names)
        shown = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last else None
    outputs = []
    if printed.getvalue():
        lines = [line.rstrip() + "\n" for line in printed.getvalue().splitlines()]
        outputs.append({"output_type": "stream", "name": "stdout", "text": lines})
    if shown is not None:
        outputs.append(
            {
                "output_type": "execute_result",
                "data": _data(shown),
                "metadata": {},
                "execution_count": None,
            }
        )
    return outputs


def tidy(lines):
    """Printed lines as they are kept: without status lines, and with one name for all folders."""
    kept, width = [], 0
    for line in lines:
        if STATUS.fullmatch(line):
            continue
        line = PLACE.sub("outputs/run", line)
        if line.startswith("╭"):
            width = len(line)
        if line.startswith("│") and line.endswith("│\n"):  # its frame stays where it was
            line = line[:-2].rstrip().ljust(width - 2) + "│\n"
        kept.append(line)
    return kept


def _data(shown):
    if isinstance(shown, Image.Image):
        stream = io.BytesIO()  # in few colours: it is to be kept
        shown.convert("RGB").quantize(64).save(stream, "PNG", optimize=True)
        return {
            "image/png": base64.b64encode(stream.getvalue()).decode(),
            "text/plain": ["picture"],
        }
    return {"text/plain": [repr(shown)]}


def run_notebook(path, change=lambda source: source):
    """Run all code cells; return the notebook with their outputs, and the names they left."""
    notebook = json.loads(Path(path).read_text())
    names, number = {}, 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            number += 1
            cell["outputs"] = run_cell(change("".join(cell["source"])), names)
            cell["execution_count"] = number
            for output in cell["outputs"]:
                if "execution_count" in output:
                    output["execution_count"] = number
    return notebook, names


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        done, _ = run_notebook(place)
    for output in [o for cell in done["cells"] for o in cell.get("outputs", ())]:
        if output["output_type"] == "stream":
            output["text"] = tidy(output["text"])
    place.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n")
