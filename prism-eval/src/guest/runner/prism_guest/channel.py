"""Frames of the guest protocol, as `guest/protocol.rs` lays them out.

A frame is 16 bytes, little-endian, then a header and a blob:

    0  u32  sequence number: the host counts, the guest repeats
    4  u8   kind; an answer has the kind of its request with the highest bit set
    5  3    zero
    8  u32  bytes of the header, JSON, at most 65,536
    12 u32  bytes of the blob, raw little-endian numbers or bytes
"""

import json
import os
import struct

VERSION = 1
MAX_HEADER = 65_536
MAX_BLOB = 1 << 28
CHUNK = 1 << 20

HELLO, BUILD, CLAIM, LOGITS, TRAIN, SAVE, LOAD, CHECKPOINT, RESUME, FINISH, PART, FAILED = range(1, 13)
ANSWER = 0x80

_PREAMBLE = struct.Struct("<IB3xII")


class Channel:
    """Both directions of the channel. The host speaks first; every request gets one answer, which parts may precede."""

    def __init__(self, source, sink):
        self._source, self._sink = source, sink
        self._sequence = 0

    def receive(self):
        """The next frame: kind, header, blob (a bytearray). The end of the channel is the end of the guest."""
        self._sequence, kind, header, blob = _PREAMBLE.unpack(self._exactly(_PREAMBLE.size))
        if header > MAX_HEADER or blob > MAX_BLOB:
            raise ConnectionError(f"frame of {header} and {blob} bytes from the host")
        return kind, json.loads(self._exactly(header) or b"{}"), self._exactly(blob)

    def send(self, kind, header, blob=b""):
        """Sends one frame."""
        header = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
        self._all(_PREAMBLE.pack(self._sequence, kind, len(header), len(blob)) + header)
        self._all(blob)

    def answer(self, kind, header, blob=b""):
        """Answers a request."""
        self.send(kind | ANSWER, header, blob)

    def _exactly(self, count):
        into = bytearray(count)
        view = memoryview(into)
        while view:
            got = os.readv(self._source, [view])
            if got == 0:
                raise EOFError
            view = view[got:]
        return into

    def _all(self, data):
        view = memoryview(data).cast("B")
        while view:
            view = view[os.write(self._sink, view[: 1 << 20]) :]
