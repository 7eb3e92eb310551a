"""One rank of the InfoMax term, in a module of its own: a process started afresh imports little."""

import torch
import torch.distributed
from torch import nn

from saddlepoint.items import Items
from saddlepoint.losses.infomax import InfoMax
from saddlepoint.losses.term import Step


class TinyDiscriminator(nn.Module):
    """Features of a convolution: local map (n, 4, 3, 3) and its sum, (n, 4)."""

    local_channels = pooled_features = 4

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, stride=2)

    def forward(self, images):
        local = self.conv(images).tanh()
        return type("Features", (), {"local": local, "pooled": local.sum((2, 3))})

    def new_head(self, out_features):
        return nn.Linear(4, out_features)

    def new_local_head(self, out_channels):
        return nn.Conv2d(4, out_channels, 1)


def loss_and_gradients(images):
    """Loss of the same networks on some images, and the gradients of all parameters."""
    torch.manual_seed(0)
    discriminator = TinyDiscriminator()
    term = InfoMax(projection=8, gather_negatives=True)
    term.attach(discriminator)
    step = Step(0, 1, None, Items(), seen={"real": discriminator(images)})
    loss = term.discriminator_loss(step)
    loss.backward()
    return [loss.detach(), *(p.grad for m in (discriminator, term) for p in m.parameters())]


def play_rank(rank, folder, images):
    """Compute one rank's share of the loss, average over both ranks, leave the result as a file."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    results = loss_and_gradients(images.chunk(2)[rank])
    for tensor in results:
        torch.distributed.all_reduce(tensor)
        tensor /= 2
    if rank == 0:
        torch.save(results, f"{folder}/averaged.pt")
    torch.distributed.destroy_process_group()
