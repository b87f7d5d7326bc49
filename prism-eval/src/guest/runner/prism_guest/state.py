"""The state that prediction needs, as bytes in the layout of safetensors: the length of a JSON header (u64, little-
endian), the header, then the tensors one after the other. Its bytes are the model's size, so a tensor that two names
share is written once; the header says under which name."""

import ctypes
import json

import torch

from . import Fault
from .channel import CHUNK

MAX_TENSORS = 100_000
MAX_NAME = 1024
MAX_DIMENSIONS = 16
MAX_STATE_HEADER = 1 << 26

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def parts(model):
    """The state of a model, in parts of at most `CHUNK` bytes."""
    header, tensors, tied, places, end = {}, [], {}, {}, 0
    state = model.state_dict()
    if len(state) > MAX_TENSORS:
        raise Fault(f"state_dict has {len(state)} entries, at most {MAX_TENSORS} are allowed")
    for name, tensor in state.items():
        if not isinstance(name, str) or len(name) > MAX_NAME:
            raise Fault(f"state_dict has a name that is no text of at most {MAX_NAME} characters")
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in _NAMES or tensor.layout != torch.strided:
            kind = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise Fault(f"state_dict entry {name!r} is {kind}, expected a dense tensor of a plain type")
        if tensor.ndim > MAX_DIMENSIONS:
            raise Fault(f"state_dict entry {name!r} has {tensor.ndim} dimensions, at most {MAX_DIMENSIONS} are allowed")
        tensor = tensor.detach()
        place = tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()
        if tensor.numel() and place in places:
            tied[name] = places[place]
            continue
        places[place] = name
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [end, end + size]}
        end += size
        tensors.append(tensor)
    if tied:
        header["__metadata__"] = {"tied": json.dumps(tied)}
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > MAX_STATE_HEADER:
        raise Fault(f"names and shapes of state_dict take {len(text)} bytes, at most {MAX_STATE_HEADER} are allowed")
    text += b" " * (-len(text) % 8)
    yield from _cut(len(text).to_bytes(8, "little") + text)
    for tensor in tensors:
        tensor = tensor.cpu().contiguous()
        if tensor.numel():
            yield from _cut(memory(tensor))


def load(model, data):
    """Puts a state into a model that was built for it; strictly: nothing missing, nothing left over."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    tied = json.loads(header.pop("__metadata__", {}).get("tied", "{}"))
    base, state = 8 + length, {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        dtype = _DTYPES[entry["dtype"]]
        if end == start:
            tensor = torch.empty(entry["shape"], dtype=dtype)
        else:
            # A copy: what follows a header has no alignment to rely on.
            tensor = torch.frombuffer(bytearray(data[base + start : base + end]), dtype=dtype).view(entry["shape"])
        state[name] = tensor
    for name, other in tied.items():
        state[name] = state[other]
    model.load_state_dict(state, strict=True)


def memory(tensor):
    """The bytes of a contiguous tensor on the CPU, not copied."""
    count = tensor.numel() * tensor.element_size()
    return memoryview((ctypes.c_char * count).from_address(tensor.data_ptr())).cast("B")


def _cut(data):
    view = memoryview(data)
    for start in range(0, len(view), CHUNK):
        yield view[start : start + CHUNK]
