"""Writes `bundles/knows_the_text.py`: a table of what follows what in English text, as large as the cap on a bundle allows.

    python3 make_prior.py ../../prism-eval/src/data/fixture/stand-in.jsonl.gz

The table is made from the documents whose rows are measured: more than any miner could know of rows that are drawn later.
"""

import base64
import collections
import gzip
import hashlib
import json
import math
import pathlib
import sys
import zlib

ROOM = 24 * 1024
"""The cap on what a guest receives, compressed."""
CODE = 3_000
"""What the code around the table takes of it."""


def texts(path):
    for line in gzip.open(path, "rt"):
        record = json.loads(line)
        if int(hashlib.sha256(record["id"].encode()).hexdigest(), 16) % 1000 < 950:
            yield record["text"].encode()


def main(path):
    ones, twos, threes = collections.Counter(), collections.Counter(), collections.Counter()
    for text in texts(path):
        ones.update(text)
        twos.update(zip(text, text[1:]))
        threes.update(zip(text, text[1:], text[2:]))
    alphabet = sorted(ones)
    total = sum(ones.values())

    def bits(p):
        # Four bits a value, in steps of half a bit.
        return min(31, max(0, round(-2 * math.log2(max(p, 1e-6)))))

    table = bytearray([len(alphabet), *alphabet])
    table += bytes(bits(ones[a] / total) for a in alphabet)
    # After one symbol: all that may follow.
    after = collections.defaultdict(int)
    for (a, _), count in twos.items():
        after[a] += count
    for a in alphabet:
        table += bytes(bits((twos[a, b] + 50 * ones[b] / total) / (after[a] + 50)) for b in alphabet)
    # After two: what gains most, until the room is full.
    pairs = collections.defaultdict(int)
    for (a, b, _), count in threes.items():
        pairs[a, b] += count
    gains = []
    for (a, b, c), count in threes.items():
        guess = (twos[b, c] + 50 * ones[c] / total) / (after[b] + 50)
        better = count / pairs[a, b]
        gains.append((count * math.log2(max(better, 1e-9) / guess), a, b, c, bits(better)))
    gains.sort(reverse=True)
    place = {symbol: index for index, symbol in enumerate(alphabet)}

    def packed(entries):
        rows = collections.defaultdict(list)
        for _, a, b, c, q in entries:
            rows[a, b].append((place[c], q))
        extra, previous = bytearray(), -1
        for a, b in sorted(rows):
            index = place[a] * len(alphabet) + place[b]
            step = index - previous
            previous = index
            extra += bytes([step & 127 | (128 if step > 127 else 0)]) + (bytes([step >> 7]) if step > 127 else b"")
            extra.append(len(rows[a, b]))
            extra += bytes(c for c, _ in sorted(rows[a, b])) + bytes(q for _, q in sorted(rows[a, b]))
        return base64.b85encode(zlib.compress(bytes(table) + bytes(extra), 9)).decode()

    low, high = 0, len(gains)
    while low < high:
        middle = (low + high + 1) // 2
        text = packed(gains[:middle])
        if len(zlib.compress(text.encode(), 9)) <= ROOM - CODE:
            low = middle
        else:
            high = middle - 1
    text = packed(gains[:low])
    here = pathlib.Path(__file__).parent
    source = (here / "prior.py").read_text().replace("@TABLE@", text)
    (here / "bundles" / "knows_the_text.py").write_text(source)
    print(f"{low} entries after two symbols, {len(zlib.compress(source.encode(), 9))} bytes compressed")


main(sys.argv[1])
