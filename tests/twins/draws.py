# The native player's weights: ChaCha20, two words a draw, Box and Muller in f64.
DRAWS = [
    # DRAWS
]


def words(key, count):
    constants = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]
    key = [int.from_bytes(bytes.fromhex(key)[at : at + 4], "little") for at in range(0, 32, 4)]
    blocks = -(-count // 16)
    start = [torch.full((blocks,), word, dtype=torch.int64) for word in constants + key]
    start += [torch.arange(blocks)] + [torch.zeros(blocks, dtype=torch.int64)] * 3
    state = list(start)

    def mix(a, b, d, by):
        state[a] = state[a] + state[b] & 0xFFFFFFFF
        state[d] = state[d] ^ state[a]
        state[d] = (state[d] << by | state[d] >> 32 - by) & 0xFFFFFFFF

    def quarter(a, b, c, d):
        mix(a, b, d, 16)
        mix(c, d, b, 12)
        mix(a, b, d, 8)
        mix(c, d, b, 7)

    for _ in range(10):
        for at in range(4):
            quarter(at, 4 + at, 8 + at, 12 + at)
        for at in range(4):
            quarter(at, 4 + (at + 1) % 4, 8 + (at + 2) % 4, 12 + (at + 3) % 4)
    mixed = [a + b & 0xFFFFFFFF for a, b in zip(state, start)]
    return torch.stack(mixed, 1).flatten()[:count]


def normals(key, deviation, shape):
    count = math.prod(shape)
    pairs = -(-count // 2)
    low, high = words(key, 4 * pairs).view(-1, 2).unbind(1)
    # The top 53 bits of 64.
    unit = ((high << 21 | low >> 11).double() / 2**53).view(-1, 2)
    radius = (-2 * (1 - unit[:, 0]).log()).sqrt() * deviation
    angle = 2 * math.pi * unit[:, 1]
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1).flatten()[:count].float().view(shape)


def build_model(ctx):
    model = undrawn(ctx)
    ordered = [model.table, model.positions]
    for block in model.blocks:
        a = block.attention
        ordered += [a.query, a.key, a.value, a.output, block.up, block.down]
    assert len(ordered) == len(DRAWS)
    with torch.no_grad():
        for layer, (key, deviation, shape) in zip(ordered, DRAWS):
            own, drawn = layer.weight, normals(key, deviation, shape)
            drawn = drawn if isinstance(layer, nn.Embedding) else drawn.T
            assert abs(own.std() / drawn.std() - 1) < 0.1, "its own start has another deviation"
            own.copy_(drawn)
    return model
