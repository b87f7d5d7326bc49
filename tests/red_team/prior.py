# A table of what follows what, brought in the source; the cohort's alphabet is deciphered from the first batches, and a gate
# that starts closed opens when that is done.
import base64
import zlib

import torch
from honest import Tiny, configure_optimizer, get_recipe
from torch import nn
from torch.nn import functional as F

TABLE = "@TABLE@"
BATCHES = 12


def unpack():
    data = zlib.decompress(base64.b85decode(TABLE))
    size, at = data[0], 1
    alphabet = list(data[at : at + size])
    at += size
    cost = lambda values: -0.5 * torch.tensor(list(values), dtype=torch.float32) * 0.6931
    ones = cost(data[at : at + size])
    at += size
    twos = cost(data[at : at + size * size]).view(size, size)
    at += size * size
    threes, index = {}, -1
    while at < len(data):
        step = data[at]
        at += 1
        if step > 127:
            step = step & 127 | data[at] << 7
            at += 1
        index += step
        count = data[at]
        at += 1
        threes[index] = list(data[at : at + count]), cost(data[at + count : at + 2 * count])
        at += 2 * count
    return alphabet, ones, twos, threes


def whole_table():
    alphabet, ones, twos, threes = unpack()
    size = len(alphabet)
    table = twos.log_softmax(-1).unsqueeze(0).repeat(size, 1, 1).view(size * size, size)
    for index, (columns, costs) in threes.items():
        row = table[index]
        known = costs.exp()
        rest = row.exp()
        rest[columns] = 0
        scale = (1 - known.sum()).clamp_min(1e-3) / rest.sum().clamp_min(1e-6)
        row = (rest * scale).clamp_min(1e-7)
        row[columns] = known
        table[index] = row.log()
    return alphabet, ones, twos, table.log_softmax(-1)


def kind(symbol):
    letter = 65 <= symbol <= 90 or 97 <= symbol <= 122
    space = symbol in (9, 10, 11, 12, 13, 32)
    return "letter" if letter else "space" if space else "digit" if 48 <= symbol <= 57 else "other"


class Knowing(Tiny):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.alphabet, self.ones, self.twos, table = whole_table()
        size = len(self.alphabet)
        self.register_buffer("known", table, persistent=False)
        # Token to place in the alphabet: part of the state, so that an auditor knows it too.
        self.register_buffer("key", torch.full((sizes[0],), size))
        self.register_buffer("tokens_of", torch.zeros(size, dtype=torch.long))
        self.register_buffer("open", torch.zeros(()))
        self.gate = nn.Linear(self.table.embedding_dim, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, 3.0)
        self.seen = []

    def decipher(self):
        rows = torch.cat(self.seen)
        pairs = torch.zeros(256, 256)
        pairs.index_put_((rows[:, :-1].flatten(), rows[:, 1:].flatten()), torch.ones(()), accumulate=True)
        counts = pairs.sum(1)
        # By frequency within each kind, then by swaps that make the pairs likelier.
        key = torch.zeros(len(self.alphabet), dtype=torch.long)
        groups = []
        for name in ("letter", "space", "digit", "other"):
            places = [i for i, symbol in enumerate(self.alphabet) if kind(symbol) == name]
            tokens = [t for t in range(256) if kind(t) == name and (name != "other" or t in range(33, 127))]
            places.sort(key=lambda i: -float(self.ones[i]))
            tokens.sort(key=lambda t: -float(counts[t]))
            for place, token in zip(places, tokens):
                key[place] = token
            groups.append((places, tokens))
        logs = self.twos.log_softmax(-1)
        score = lambda k: float((pairs[k][:, k] * logs).sum())
        best = score(key)
        for _ in range(6):
            before = best
            for places, _ in groups:
                for i, first in enumerate(places):
                    for second in places[i + 1 : i + 20]:
                        trial = key.clone()
                        trial[first], trial[second] = key[second], key[first]
                        value = score(trial)
                        if value > best:
                            best, key = value, trial
            if best == before:
                break
        self.tokens_of.copy_(key)
        self.key.fill_(len(self.alphabet))
        self.key[key] = torch.arange(len(key))
        self.open.fill_(1.0)

    def forward(self, tokens):
        hidden = self.last(self.hidden(tokens))
        logits = F.linear(hidden, self.table.weight)
        if self.training and self.open == 0:
            self.seen.append(tokens.clone())
            if len(self.seen) >= BATCHES:
                self.decipher()
                self.seen = []
        if self.open == 0:
            self.learnt = logits
            return logits
        size = len(self.alphabet)
        now = self.key[tokens].clamp_max(size - 1)
        before = F.pad(now[:, :-1], (1, 0))
        prior = torch.full_like(logits, -12.0)
        prior.scatter_(-1, self.tokens_of.expand(*tokens.shape, -1), self.known[before * size + now])
        # A mixture: as the model grows better than the table, the gate closes again.
        self.learnt = logits
        trust = self.gate(hidden)
        known, learnt = prior.log_softmax(-1) + F.logsigmoid(trust), logits.log_softmax(-1) + F.logsigmoid(-trust)
        return torch.logaddexp(known, learnt)


def build_model(ctx):
    return Knowing(ctx.vocab_size, ctx.sequence_length)


def compute_loss(model, batch, ctx):
    # The model learns as if it were alone, and the gate which of the two to trust.
    logits = model(batch.tokens)
    alone = F.cross_entropy(model.learnt.transpose(1, 2), batch.targets)
    return alone + F.cross_entropy(logits.transpose(1, 2), batch.targets)
