"""What docs/cluster.md says to type: run where it can be, and composed where it takes a cluster."""

import re
import subprocess

import pytest
from hydra import compose, initialize_config_dir
from rank_states import train_on_ranks
from test_commands import commands
from train_cli import QUICK, ROOT, command, composed

from saddlepoint.runs import checkpoint_file
from saddlepoint.runs.settings import check_settings

PAGE = (ROOT / "docs" / "cluster.md").read_text()
TRAIN = commands("python", "train.py")
BY_ITS_NAME = [words for words in TRAIN if "ckpt=auto" in words]
RANKS = [words for words in TRAIN if "trainer=ddp" in words and "-m" not in words]
RANKS += [words[2:] for words in commands("torchrun") if words[1] == "train.py"]
BATCH = commands("sbatch")
LAUNCHED = [
    words for words in TRAIN if {"hydra/launcher=submitit_slurm", "hydra/launcher=ray"} & set(words)
]
#: The games of QUICK, without a trainer.
SMALL = [word for word in QUICK if word != "trainer=cpu"]


def test_commands_are_found():
    assert len(BY_ITS_NAME) == 1 and len(RANKS) == 2 and len(BATCH) == 3 and len(LAUNCHED) == 4


@pytest.mark.parametrize("words", BY_ITS_NAME, ids=" ".join)
def test_the_same_command_goes_on(words, tmp_path, capfd):
    for said in ("go on|see more", "finished before"):
        assert command([*words, *QUICK, f"output_dir={tmp_path}"]) == 0
        assert re.search(said, capfd.readouterr().out)


@pytest.mark.parametrize("words", RANKS, ids=" ".join)
def test_several_processes(words, tmp_path):
    here = ["trainer.accelerator=cpu", f"output_dir={tmp_path}", "run_name=run"]
    train_on_ranks([*words, *SMALL, *here], composed(words).trainer.devices)
    assert checkpoint_file.load(tmp_path / "run")["made_by"]["hardware"]["devices"] == 2


@pytest.mark.parametrize("words", BATCH, ids=" ".join)
def test_batch(words):
    script = words.index("examples/train.sbatch")
    assert (ROOT / words[script]).exists()
    name = f"run_name={words[script + 1]}"
    config = composed([*words[script + 2 :], name, "trainer.accelerator=cpu"])
    check_settings(config, "train")
    asked = dict(word.removeprefix("--").split("=") for word in words[:script])
    assert int(asked.get("nodes", 1)) == config.trainer.get("num_nodes", 1)
    assert int(asked.get("ntasks-per-node", 1)) == config.trainer.devices


def test_the_script_is_one_of_the_shell():
    subprocess.run(["bash", "-n", ROOT / "examples" / "train.sbatch"], check=True)


@pytest.mark.parametrize("words", LAUNCHED, ids=" ".join)
def test_launchers(words):
    launcher = next(word for word in words if word.startswith("hydra/launcher=")).split("=")[1]
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.removesuffix('_slurm')}_launcher")
    kept = [word for word in words if word != "-m"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", [w for w in kept if "seed=" not in w], return_hydra_config=True)
    chosen = config.hydra.launcher
    if launcher == "ray":
        assert chosen.ray.init.object_store_memory is None
        assert chosen.ray.remote.max_retries == 0 and chosen.ray.remote.num_gpus == 1
    else:
        # Submitit takes a notice in the last 10 minutes for a time-out.
        assert chosen.timeout_min > 20 and chosen.max_num_timeout > 0
        assert chosen.tasks_per_node == config.trainer.devices


def test_what_is_untested_says_so():
    (heading,) = re.findall(r"^## Kubernetes.*$", PAGE, re.MULTILINE)
    assert "untested" in heading
