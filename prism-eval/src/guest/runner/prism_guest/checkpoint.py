"""What the miner's own `save_checkpoint` leaves, as one archive, and back.

An archive is the length of a JSON header (u64, little-endian), the header `{"path", "metadata", "files"}`, then the files
one after the other. The host keeps it by its digest and reads nothing of it.
"""

import json
import os
import re
import shutil
import stat
from types import MappingProxyType

from . import Fault
from .channel import CHUNK

VERSION = 1
MAX_BYTES = 10_000_000_000
"""Decimal: so many bytes pass, one more fails."""
MAX_FILES = 10_000
MAX_METADATA = 32_768

SCRATCH = os.environ.get("TMPDIR", "/tmp")
SAVED = f"{SCRATCH}/checkpoint"
RESUMED = f"{SCRATCH}/resume"


def save(hook, model, ctx):
    """Lets the hook save into an empty folder, and checks what it returns against the rules of the contract. The parts of
    the archive, and its header; None when the hook records nothing."""
    clear()
    returned = hook(model, SAVED, ctx)
    if returned is None:
        return None
    metadata = {}
    path = returned
    if isinstance(returned, dict):
        if set(returned) != {"path", "metadata"} or not isinstance(returned["metadata"], dict):
            raise Fault("save_checkpoint returned a dict that is not exactly {'path': str, 'metadata': dict}")
        path, metadata = returned["path"], returned["metadata"]
    if not isinstance(path, str):
        raise Fault(f"save_checkpoint returned a value of type {type(path).__name__}, expected None, str or dict")
    files = _files(SAVED)
    _check(path, files)
    try:
        header = json.dumps({"path": path, "metadata": metadata, "files": files}, allow_nan=False).encode()
        size = len(json.dumps(metadata))
    except (TypeError, ValueError, RecursionError) as error:
        raise Fault(f"save_checkpoint returned metadata that is no JSON: {error}") from None
    if size > MAX_METADATA:
        raise Fault(f"save_checkpoint returned {size} bytes of metadata, at most {MAX_METADATA} are allowed")
    return {"path": path, "bytes": sum(count for _, count in files)}, _parts(header, files)


def clear():
    """Empties the folder that hooks save into: what it holds counts as memory."""
    shutil.rmtree(SAVED, ignore_errors=True)
    os.makedirs(SAVED)


def restore(read, write):
    """Unpacks an archive into the folder to resume from, or only reads it: the metadata that was saved with it."""
    if write:
        shutil.rmtree(RESUMED, ignore_errors=True)
        os.makedirs(RESUMED)
    header = json.loads(read(int.from_bytes(read(8), "little")))
    for name, count in header["files"]:
        target = os.path.join(RESUMED, name) if write else os.devnull
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "xb" if write else "wb") as file:
            while count:
                data = read(min(count, CHUNK))
                file.write(data)
                count -= len(data)
        if write:
            os.chmod(target, 0o400)
    return MappingProxyType(header["metadata"])


def _files(root):
    """Relative path and size of every file below a folder, sorted; anything but files and folders is a fault."""
    found, total = [], 0
    for folder, folders, names in os.walk(root):
        for name in folders + names:
            path = os.path.join(folder, name)
            state = os.lstat(path)
            relative = os.path.relpath(path, root)
            if stat.S_ISDIR(state.st_mode):
                continue
            if not stat.S_ISREG(state.st_mode):
                raise Fault(f"checkpoint holds {relative!r}, which is neither file nor folder")
            total += state.st_size
            if total > MAX_BYTES:
                raise Fault(f"checkpoint holds more than {MAX_BYTES} bytes")
            found.append([relative, state.st_size])
            if len(found) > MAX_FILES:
                raise Fault(f"checkpoint holds more than {MAX_FILES} files")
    return sorted(found)


def _check(path, files):
    """A relative POSIX path to a file of the checkpoint."""
    parts = path.split("/")
    odd = path.startswith("/") or "\\" in path or re.match("[A-Za-z]:", path) or any(p in ("", ".", "..") for p in parts)
    if odd:
        raise Fault(f"save_checkpoint returned {path[:200]!r}, expected a path relative to checkpoint_dir")
    if path not in (name for name, _ in files):
        raise Fault(f"save_checkpoint returned {path[:200]!r}, which is no file below checkpoint_dir")


def _parts(header, files):
    yield len(header).to_bytes(8, "little") + header
    for name, count in files:
        with open(os.path.join(SAVED, name), "rb") as file:
            while count:
                data = file.read(min(count, CHUNK))
                if not data:
                    raise Fault(f"checkpoint file {name!r} became shorter while it was read")
                count -= len(data)
                yield data
