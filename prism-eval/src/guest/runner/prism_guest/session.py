"""One handler per message."""

import gc
import json
import os
import sys
import traceback
from types import MappingProxyType

import torch

from prism import Budget, PrismContext

from . import Fault, channel, checkpoint, deterministic, state
from .hooks import Hooks, batch_of
from .recipe import Declared, Own

MAX_MESSAGE = 4096
LABELS = ("<architecture>", "<training>")
"""How names of a miner's files begin in tracebacks."""


def serve(link, group):
    """Answers the host until it says that it is enough, or hangs up."""
    session = Session(link, group)
    while True:
        try:
            kind, header, blob = link.receive()
        except EOFError:
            leave(0)
        if kind == channel.FINISH:
            link.answer(kind, {})
            leave(0)
        try:
            session.handle(kind, header, blob)
        except Fault as fault:
            fail(link, str(fault))
        except BaseException as error:  # also sys.exit and KeyboardInterrupt of a miner's code
            fail(link, describe(error))


def fail(link, message):
    """Tells the host, and ends."""
    link.send(channel.FAILED, {"message": message[:MAX_MESSAGE]})
    os.write(2, message[:MAX_MESSAGE].encode(errors="replace") + b"\n")
    leave(1)


def leave(code):
    """Ends at once: nothing that a miner's code registered for the end is run."""
    os._exit(code)


def describe(error):
    """An exception of a miner's code, with the frames that are the miner's."""
    try:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(LABELS)][-4:]
        places = "".join(f", {frame.filename} line {frame.lineno} in {frame.name}" for frame in frames)
        return f"{type(error).__name__}: {str(error)[:2048]}{places}"
    except BaseException:  # a miner's exception may fail to describe itself
        return "exception that can't be described"


class Session:
    """What the host has had this guest build."""

    def __init__(self, link, group):
        self._link, self._group = link, group
        self._ctx = self._hooks = self._model = self._recipe = self._declared = None
        self._resumed = None
        self._handlers = {
            channel.HELLO: self._hello,
            channel.RESUME: self._resume,
            channel.BUILD: self._build,
            channel.CLAIM: self._claim,
            channel.LOGITS: self._logits,
            channel.TRAIN: self._train,
            channel.SAVE: self._save,
            channel.LOAD: self._load,
            channel.CHECKPOINT: self._checkpoint,
        }

    def handle(self, kind, header, blob):
        """Carries out one request."""
        handler = self._handlers.get(kind)
        if handler is None:
            raise ConnectionError(f"the host sent a frame of kind {kind}")
        handler(header, blob)
        if self._group.device.type == "cuda":
            torch.cuda.synchronize()

    def _hello(self, header, blob):
        if header["version"] != channel.VERSION:
            raise ConnectionError(f"the host speaks version {header['version']}, this runner {channel.VERSION}")
        if header["optimizers"]:
            deterministic.prepare_optimizers()
        said = {"version": channel.VERSION, "nonce": header["nonce"], "world_size": self._group.world_size}
        said["python"] = sys.version.split()[0]
        said["torch"] = str(torch.__version__)
        said["device"] = torch.cuda.get_device_name() if self._group.device.type == "cuda" else "cpu"
        self._link.answer(channel.HELLO, said)

    def _resume(self, header, blob):
        reader = _Parts(self._link, header["bytes"])
        # One of the processes writes for all: the host asks for nothing more before that one has answered.
        self._resumed = checkpoint.restore(reader.read, write=self._group.rank == 0)
        reader.end()
        self._link.answer(channel.RESUME, {})

    def _build(self, header, blob):
        self._declared = header["recipe"]
        group = self._group
        resumed = self._resumed is not None
        self._ctx = ctx = PrismContext(
            **header["context"],
            budget=Budget(**header["budget"]),
            seed=header["seed"],
            batch_size=header["batch_size"],
            attempt=header["attempt"],
            checkpoint_dir=checkpoint.SAVED,
            resume_checkpoint_dir=checkpoint.RESUMED if resumed else None,
            checkpoint_api_version=checkpoint.VERSION,
            is_resume=resumed,
            rank=group.rank,
            local_rank=group.local_rank,
            world_size=group.world_size,
            distributed_backend=group.backend,
            device=str(group.device),
            checkpoint_metadata=self._resumed if resumed else MappingProxyType({}),
        )
        os.makedirs(checkpoint.SAVED, exist_ok=True)
        deterministic.seed(ctx.seed)
        self._hooks = Hooks(json.loads(blob), architecture_only=self._declared is not None)
        self._model, parameters = self._hooks.model(ctx)
        if resumed:
            self._resume_training()
        self._link.answer(channel.BUILD, {"parameters": parameters})

    def _predict(self, header, blob):
        """Logits of rows, a batch at a time, under the seed that the host gave: shapes and draws are the same for a player
        and its auditor."""
        model, ctx = self._model, self._ctx
        rows = _rows(header, blob).to(ctx.device)
        training = model.training
        model.eval()
        try:
            with torch.no_grad(), deterministic.seeded(header["seed"]):
                for some in rows.split(ctx.batch_size):
                    logits = self._hooks.logits(model, batch_of(some, targets=False), ctx).float()
                    if not bool(torch.isfinite(logits).all()):
                        raise Fault("logits hold values that are not finite")
                    yield some, logits
        finally:
            model.train(training)

    def _claim(self, header, blob):
        if self._group.rank > 0:
            return
        claims = []
        for rows, logits in self._predict(header, blob):
            likelihoods = logits.log_softmax(2).gather(2, rows[:, 1:, None])
            claims.append(-likelihoods.squeeze(2))
        claims = torch.cat(claims).cpu().contiguous()
        shape = {"rows": claims.shape[0], "positions": claims.shape[1]}
        self._link.answer(channel.CLAIM, shape, state.memory(claims))

    def _logits(self, header, blob):
        if self._group.rank > 0:
            return
        count = header["rows"]
        at = torch.frombuffer(blob, dtype=torch.int32, offset=len(blob) - 4 * count).long()
        found, done = [], 0
        for rows, logits in self._predict(header, blob):
            here = at[done : done + len(rows)].to(logits.device)
            found.append(logits[torch.arange(len(rows), device=logits.device), here])
            done += len(rows)
        found = torch.cat(found).cpu().contiguous()
        shape = {"rows": found.shape[0], "vocabulary": found.shape[1]}
        self._link.answer(channel.LOGITS, shape, state.memory(found))

    def _train(self, header, blob):
        if self._recipe is None:
            self._recipe = self._start_training()
        rows = self._group.share(_rows(header, blob)).to(self._ctx.device)
        report = self._recipe.step(header["step"], self._model, rows)
        self._link.answer(channel.TRAIN, report)

    def _resume_training(self):
        """Takes up what `_checkpoint` left in an attempt before."""
        if self._declared is not None:
            self._recipe = self._start_training()
        hooks = self._hooks if self._declared is None else self._recipe
        if hooks.load_checkpoint is None:
            raise Fault("load_checkpoint is missing, and there is a checkpoint to resume from")
        hooks.load_checkpoint(self._model, checkpoint.RESUMED, self._ctx)

    def _start_training(self):
        parallel = None
        if self._group.world_size > 1:
            local = [self._group.local_rank] if self._group.device.type == "cuda" else None
            parallel = torch.nn.parallel.DistributedDataParallel(self._model, device_ids=local)
        if self._declared is not None:
            return Declared(self._declared, self._model, self._hooks, self._ctx, parallel)
        return Own(self._model, self._hooks, self._ctx, parallel)

    def _save(self, header, blob):
        if self._group.rank == 0:
            total = 0
            for part in state.parts(self._model):
                self._link.send(channel.PART, {}, part)
                total += len(part)
            self._link.answer(channel.SAVE, {"bytes": total})

    def _load(self, header, blob):
        reader = _Parts(self._link, header["bytes"])
        data = reader.read(header["bytes"])
        reader.end()
        state.load(self._model, data)
        del data
        gc.collect()
        self._link.answer(channel.LOAD, {})

    def _checkpoint(self, header, blob):
        if self._group.rank > 0:
            return
        # A recipe of the miner's own is known to its hooks alone; what nothing loads is not worth saving.
        hooks = self._hooks if self._declared is None else self._recipe
        saved = None
        if hooks is not None and hooks.save_checkpoint is not None and hooks.load_checkpoint is not None:
            saved = checkpoint.save(hooks.save_checkpoint, self._model, self._ctx)
        if saved is None:
            self._link.answer(channel.CHECKPOINT, {"path": None, "bytes": 0})
            return
        said, parts = saved
        for part in parts:
            self._link.send(channel.PART, {}, part)
        checkpoint.clear()
        self._link.answer(channel.CHECKPOINT, said)


class _Parts:
    """Bytes that come in parts."""

    def __init__(self, link, length):
        self._link, self._left, self._held = link, length, bytearray()

    def read(self, count):
        """Exactly so many bytes."""
        into = bytearray()
        while len(into) < count:
            if not self._held:
                kind, _, self._held = self._link.receive()
                if kind != channel.PART or len(self._held) > self._left:
                    raise ConnectionError(f"the host sent a frame of kind {kind} where a part was due")
                self._left -= len(self._held)
            take = count - len(into)
            into += self._held[:take]
            self._held = self._held[take:]
        return into

    def end(self):
        """There must be nothing more."""
        if self._left or self._held:
            raise ConnectionError(f"{self._left + len(self._held)} bytes of the host's parts are left over")


def _rows(header, blob):
    """Rows of tokens, int64."""
    rows, columns = header["rows"], header["columns"]
    return torch.frombuffer(blob, dtype=torch.int32, count=rows * columns).long().view(rows, columns)
