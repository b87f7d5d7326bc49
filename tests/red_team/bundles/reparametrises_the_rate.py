# Every weight is ten times what is trained: the same functions at ten times the rate.
from honest import Tiny, get_recipe
from torch import nn
from torch.nn.utils import parametrize


class Times(nn.Module):
    def forward(self, x):
        return 10.0 * x

    def right_inverse(self, x):
        return x / 10.0


def build_model(ctx):
    model = Tiny(ctx.vocab_size, ctx.sequence_length)
    for module in list(model.modules()):
        for name, p in list(module.named_parameters(recurse=False)):
            if p.ndim >= 2:
                parametrize.register_parametrization(module, name, Times())
    return model
