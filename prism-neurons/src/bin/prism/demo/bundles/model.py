"""A bundle of Python: measured once a sandbox is there to run it in."""
import torch


class Gpt(torch.nn.Module):
    def __init__(self, vocabulary, width=64, layers=2):
        super().__init__()
        self.table = torch.nn.Embedding(vocabulary, width)
        layer = torch.nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True, norm_first=True)
        self.blocks = torch.nn.TransformerEncoder(layer, layers)
        self.head = torch.nn.Linear(width, vocabulary)

    def forward(self, tokens):
        mask = torch.nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.head(self.blocks(self.table(tokens), mask=mask, is_causal=True))


def build_model(ctx):
    return Gpt(ctx.vocab_size)


def get_recipe(ctx):
    return {"learning_rate": 1e-3}
