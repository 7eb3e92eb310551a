"""Run one game in several processes, and look at what each of them has at its end.

The processes are forks of the test's own, which has imported everything, and find each other as
those of torchrun do.
"""

import os
import socket
import traceback

import torch
import torch.distributed
from lightning_fabric.utilities.rank_zero import rank_zero_only as fabrics
from pytorch_lightning import Callback
from pytorch_lightning.utilities import rank_zero_only
from train_cli import train_here


class KeepStates(Callback):
    """Writes the state of each rank, with the items it has seen, as ``{folder}/rank{r}.pt``."""

    def __init__(self, folder):
        self.folder, self.start, self.seen = folder, None, []

    def on_train_batch_start(self, trainer, game, batch, _):
        if self.start is None:
            self.start = {name: tensor.clone() for name, tensor in game.state_dict().items()}
        self.seen.append(batch["reals"].index.cpu().clone())

    def on_train_end(self, trainer, game):
        content = {"seen": self.seen, "start": self.start, "end": game.state_dict()}
        content["images_shown"] = game.images_shown
        torch.save(content, f"{self.folder}/rank{trainer.global_rank}.pt")


def kept_states(folder, words, ranks=1, nodes=1):
    """Train on so many ranks; return what each kept, see `KeepStates`."""
    folder.mkdir(parents=True, exist_ok=True)
    keep = {"_target_": f"{__name__}.KeepStates", "folder": str(folder)}
    words = [*words, f"+callbacks.keep={keep}".replace("'", ""), f"output_dir={folder}"]
    if ranks == 1:
        train_here([*words, "trainer=cpu"])
    else:
        local = ranks // nodes
        ddp = ["trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={local}"]
        train_on_ranks([*words, *ddp, f"trainer.num_nodes={nodes}"], ranks, nodes)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(ranks)]


def train_on_ranks(words, ranks, nodes=1):
    """Train in so many forks of this process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    local = ranks // nodes

    def train(rank):
        os.environ |= {
            "RANK": f"{rank}",
            "WORLD_SIZE": f"{ranks}",
            "GROUP_RANK": f"{rank // local}",
            "LOCAL_RANK": f"{rank % local}",
            "LOCAL_WORLD_SIZE": f"{local}",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": f"{port}",
            "TORCHELASTIC_RUN_ID": "test",
        }
        rank_zero_only.rank = fabrics.rank = rank
        train_here(words)

    in_forks(train, ranks)


def in_forks(body, count):
    """Call a function with 0, 1, ... in forks of this process, all at once."""
    children = []
    for number in range(count):
        child = os.fork()
        if not child:
            code = 1
            try:
                body(number)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0] * count


def meet(folder, rank, ranks):
    """Join the processes that meet in a folder."""
    place = f"file://{folder}/meet"
    torch.distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=ranks)
