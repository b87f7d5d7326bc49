//! The rules: what in a module is evidence that it does something no model, recipe or checkpoint needs. Each finding
//! names a rule, a file and a line, so that whoever looks there sees the same.
//!
//! This is advice: names can be computed, and then nothing here sees them. The sandbox is the wall.
use super::{
    modules::{self, Breach, INTERNALS, NEVER_OWN, OPENERS},
    names::{Meaning, Names},
    sources::{Sources, imports},
    syntax::{Kind, Module, Node, NodeId},
};
use prism_core::reviewer::{Finding, Grade};

/// Most findings of a bundle, the gravest kept.
pub const MAX_FINDINGS: usize = 200;
/// Characters of a text from which it could hold a table.
const LONG_TEXT: usize = 4096;
/// Characters of a text without white space from which it could hold a table.
const DENSE_TEXT: usize = 512;
/// Numbers of one literal from which it could be a table.
const MANY_NUMBERS: usize = 512;
/// Digits of a number from which it could hold a table.
const LONG_NUMBER: usize = 256;

/// What the rules find in all files, ordered by file and line.
#[must_use]
pub fn findings(sources: &Sources) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for module in sources.modules() {
        found.extend(shadows(module.path()));
        let mut scan = Scan { sources, module, names: Names::of(module), found: Vec::new() };
        scan.run();
        found.append(&mut scan.found);
    }
    found.sort_by(|a, b| (&a.file, a.line, &a.rule, &a.text).cmp(&(&b.file, b.line, &b.rule, &b.text)));
    found.dedup();
    if found.len() > MAX_FINDINGS {
        found.sort_by_key(|finding| std::cmp::Reverse(finding.grade));
        found.truncate(MAX_FINDINGS);
        found.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    }
    found
}

/// A file or folder that has the name of something guests already have.
fn shadows(path: &str) -> Option<Finding> {
    let stem = path.strip_suffix(".py").unwrap_or(path);
    let finding = |name: &str, grade, why: &str| {
        let text = format!("`{name}` {why}");
        Some(Finding { rule: "python.shadow".to_owned(), file: path.to_owned(), line: 0, text, grade })
    };
    if let Some(name) = stem.split('/').find(|part| NEVER_OWN.contains(part)) {
        return finding(name, Grade::Proof, "is the name of what guests run on");
    }
    let root = stem.split('/').next().unwrap_or_default();
    if modules::is_known(root) {
        return finding(root, Grade::Note, "can't be imported: the standard library comes first");
    }
    None
}

struct Scan<'a> {
    sources: &'a Sources,
    module: &'a Module,
    names: Names<'a>,
    found: Vec<Finding>,
}

impl<'a> Scan<'a> {
    fn run(&mut self) {
        let module = self.module;
        for (id, node) in module.nodes() {
            match node.kind {
                Kind::Import | Kind::ImportFrom => self.import(node),
                Kind::Attribute => self.attribute(id, node),
                Kind::Name if !node.stored => self.reference(id, node),
                Kind::Subscript if node.stored => self.stored(module.child(id, 0), node, "an element of "),
                Kind::Call => self.call(id, node),
                Kind::Str | Kind::Bytes => self.text(id, node),
                Kind::Number if node.text.len() >= LONG_NUMBER => {
                    self.payload(node, format!("a number of {} digits", node.text.len()));
                }
                Kind::ListLiteral | Kind::Tuple | Kind::Set | Kind::Dict => self.table(id, node),
                _ => {}
            }
        }
    }

    fn add(&mut self, node: &Node, rule: &str, grade: Grade, text: impl Into<String>) {
        let (rule, file) = (rule.to_owned(), self.module.path().to_owned());
        let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        let text: String = text.into().chars().map(shown).take(200).collect();
        self.found.push(Finding { rule, file, line: node.line, text, grade });
    }

    fn breach(&mut self, node: &Node, name: &str, breach: Breach, sure: bool) {
        // What may mean something else as well is no proof.
        let grade = if sure { breach.grade } else { breach.grade.min(Grade::Suspicion) };
        let name = name.strip_prefix("builtins.").unwrap_or(name);
        self.add(node, breach.rule, grade, format!("`{name}` {}", breach.why));
    }

    fn is_own(&self, name: &str) -> bool {
        let root = name.split('.').next().unwrap_or_default();
        name.starts_with('.') || (!modules::is_known(root) && self.sources.has_part(root))
    }

    fn import(&mut self, node: &Node) {
        for (name, bound) in imports(self.module, node) {
            if self.is_own(&name) {
                continue;
            }
            let root = name.split('.').next().unwrap_or_default();
            if let Some(breach) = modules::import(&name) {
                self.breach(node, &name, breach, true);
            } else if !modules::is_importable(root) {
                let text = format!("`{root}` is not among the modules that guests may import");
                self.add(node, "python.import.unknown", Grade::Proof, text);
            } else if let Some(breach) =
                modules::reference(&name).filter(|_| bound == "*" || !modules::has_parts(&name))
            {
                self.breach(node, &name, breach, true);
            }
        }
    }

    fn attribute(&mut self, id: NodeId, node: &Node) {
        if INTERNALS.contains(&node.text.as_str()) {
            self.add(node, "python.internals", Grade::Proof, format!("`{}` leads into the interpreter", node.text));
        }
        if node.stored {
            self.stored(self.module.child(id, 0), node, &format!("`{}` of ", node.text));
        }
        if matches!(node.text.as_str(), "register_post_accumulate_grad_hook" | "register_full_backward_hook") {
            let text = format!("`{}`: what it does is measured as work", node.text);
            self.add(node, "python.hook.gradient", Grade::Note, text);
        }
        self.reference(id, node);
    }

    /// The longest dotted name that a node is part of, checked once.
    fn reference(&mut self, id: NodeId, node: &Node) {
        let parent = self.module.node(self.names.parent(id));
        if parent.kind == Kind::Attribute || (parent.kind == Kind::Call && self.is_callee_of_getattr(id)) {
            return;
        }
        for Meaning { name, sure } in self.names.meanings(id) {
            if self.is_own(&name) && !name.starts_with("builtins.") {
                continue;
            }
            if let Some(breach) = modules::reference(&name) {
                self.breach(node, &name, breach, sure);
            }
            if let Some((opener, ..)) = OPENERS.iter().find(|(opener, ..)| modules::lies_below(&name, opener)) {
                let called =
                    name == *opener && parent.kind == Kind::Call && self.module.child(self.names.parent(id), 0) == id;
                if !called {
                    let opener = opener.strip_prefix("builtins.").unwrap_or(opener);
                    let grade = if sure { Grade::Proof } else { Grade::Suspicion };
                    self.add(node, "python.file", grade, format!("`{opener}` goes by another name"));
                }
            }
        }
    }

    /// Whether a node is the object of `getattr(object, "name")`, which is checked as a whole.
    fn is_callee_of_getattr(&self, id: NodeId) -> bool {
        let list = self.names.parent(id);
        let call = self.names.parent(list);
        self.module.node(call).kind == Kind::Call
            && self.module.list(call, 1).first() == Some(&id)
            && !self.names.meanings(call).is_empty()
    }

    /// Something of `object` is bound or deleted.
    fn stored(&mut self, object: NodeId, node: &Node, what: &str) {
        for Meaning { name, sure } in self.names.meanings(object) {
            let setting = modules::is_setting(&format!("{name}.{}", node.text)) || modules::is_setting(&name);
            if self.is_own(&name) || setting || name.starts_with("builtins.") {
                continue;
            }
            // `layer = nn.Linear` and later `layer = layer(1, 1)` are a class and its instance.
            let grade = if sure { Grade::Proof } else { Grade::Note };
            self.add(node, "python.patch", grade, format!("{what}`{name}` is replaced, which is not the bundle's own"));
        }
    }

    fn call(&mut self, id: NodeId, node: &Node) {
        let module = self.module;
        let (callee, arguments) = (module.child(id, 0), module.list(id, 1));
        let meanings = self.names.meanings(callee);
        let named = |name: &str| meanings.iter().any(|meaning| meaning.name == name);
        if (named("builtins.setattr") || named("builtins.delattr"))
            && let Some(object) = arguments.first()
        {
            self.stored(*object, node, "something of ");
        }
        let reaches = ["builtins.getattr", "builtins.setattr", "builtins.delattr", "builtins.hasattr"];
        if reaches.into_iter().any(named) {
            match arguments.get(1).map(|id| module.node(*id)) {
                Some(name) if name.kind == Kind::Str && INTERNALS.contains(&name.text.as_str()) => {
                    let text = format!("`{}` leads into the interpreter", name.text);
                    self.add(node, "python.internals", Grade::Proof, text);
                }
                Some(name) if name.kind != Kind::Str => {
                    self.add(node, "python.getattr", Grade::Note, "an attribute by a computed name");
                }
                _ => {}
            }
        }
        if named("time.sleep") {
            self.add(node, "python.clock", Grade::Note, "`time.sleep`: the clock of a run goes on");
        }
        // The object of a constant `getattr` is not looked at by itself.
        if !self.names.meanings(id).is_empty() && module.node(self.names.parent(id)).kind != Kind::Attribute {
            for Meaning { name, sure } in self.names.meanings(id) {
                if let Some(breach) = modules::reference(&name).filter(|_| !self.is_own(&name)) {
                    self.breach(node, &name, breach, sure);
                }
            }
        }
        let opened = OPENERS.iter().find(|(opener, ..)| named(opener));
        if let Some((opener, position, keyword)) = opened {
            let by_name = arguments.iter().find(|id| {
                let argument = module.node(**id);
                argument.kind == Kind::Keyword && argument.text == *keyword
            });
            let path = by_name.or(arguments.get(*position));
            let opener = opener.strip_prefix("builtins.").unwrap_or(opener);
            if path.is_some_and(|path| self.varies(*path, 8)) {
                let text = format!("`{opener}`: nothing but what lies below `checkpoint_dir` is kept");
                self.add(node, "python.file", Grade::Note, text);
            } else {
                self.add(node, "python.file", Grade::Proof, format!("`{opener}` of a path that the bundle fixes"));
            }
        }
    }

    /// Whether an expression depends on something that the bundle is given, rather than on its constants alone.
    fn varies(&self, id: NodeId, depth: usize) -> bool {
        self.module.below(id).into_iter().any(|id| {
            let node = self.module.node(id);
            if node.kind != Kind::Name || !self.names.is_bound(&node.text) {
                return false;
            }
            match self.names.only_value(&node.text) {
                Some(value) if depth > 0 => self.varies(value, depth - 1),
                _ => true,
            }
        })
    }

    fn text(&mut self, id: NodeId, node: &Node) {
        let parent = self.module.node(self.names.parent(id));
        if parent.kind == Kind::Expression {
            return;
        }
        if node.kind == Kind::Str && node.text.starts_with("__") && INTERNALS.contains(&node.text.as_str()) {
            let text = format!("the text `{}` is a way into the interpreter", node.text);
            self.add(node, "python.internals", Grade::Suspicion, text);
        }
        let dense = node.text.len() >= DENSE_TEXT && !node.text.contains(char::is_whitespace);
        if node.text.len() >= LONG_TEXT || dense {
            self.payload(node, format!("a text of {} bytes", node.text.len()));
        }
    }

    fn table(&mut self, id: NodeId, node: &Node) {
        let is_table =
            |id| matches!(self.module.node(id).kind, Kind::ListLiteral | Kind::Tuple | Kind::Set | Kind::Dict);
        let mut around = self.names.parent(id);
        while matches!(self.module.node(around).kind, Kind::List | Kind::Item) {
            around = self.names.parent(around);
        }
        // Counted once, with the outermost.
        if is_table(around) {
            return;
        }
        let numbers = self.module.below(id).into_iter().filter(|id| self.module.node(*id).kind == Kind::Number).count();
        if numbers >= MANY_NUMBERS {
            self.payload(node, format!("{numbers} numbers"));
        }
    }

    fn payload(&mut self, node: &Node, what: String) {
        self.add(node, "python.payload.literal", Grade::Suspicion, format!("{what}, which could be a table"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn found(source: &str) -> Vec<Finding> {
        let files =
            BTreeMap::from([("model.py".to_owned(), source.to_owned()), ("src/blocks.py".to_owned(), String::new())]);
        findings(&Sources::parse(&files).unwrap())
    }

    fn worst(source: &str) -> Option<Finding> {
        found(source).into_iter().max_by_key(|finding| finding.grade)
    }

    #[test]
    fn what_reaches_the_system_is_proved() {
        for (rule, line, source) in [
            // Twenty-one probes that a check of dotted text let through.
            ("python.torch", 2, "import torch as t\nt.hub.load('x', 'y')"),
            ("python.torch", 1, "from torch import hub"),
            ("python.file", 2, "from torch import load\nload('weights.pt')"),
            ("python.file", 2, "import torch\nf = torch.load\nf(p)"),
            ("python.file", 2, "import torch\ntorch.serialization.load('x')"),
            ("python.torch", 1, "from torch.utils import cpp_extension"),
            ("python.torch", 1, "from torch.utils.cpp_extension import load_inline"),
            ("python.torch", 2, "import torch\ntorch.from_file('/x', size=4)"),
            ("python.escape", 2, "import torch\ntorch.os.environ"),
            ("python.escape", 2, "import torch\ntorch.os.execvp('sh', [])"),
            ("python.escape", 2, "import torch\ntorch.os.open('x', 0)"),
            ("python.escape", 2, "import torch\ntorch.sys.modules"),
            ("python.escape", 2, "import torch\ntorch.multiprocessing.Process()"),
            ("python.torch", 2, "import torch.distributed as dist\ndist.TCPStore('host', 1)"),
            ("python.patch", 2, "import torch.nn.functional as F\nF.cross_entropy = lambda *a: 0"),
            ("python.torch", 2, "import torch\ntorch.ops.load_library('x.so')"),
            ("python.escape", 3, "import torch\n\ngetattr(torch, 'os')"),
            ("python.builtin", 1, "open_ = __import__"),
            ("python.system", 2, "import os\nos.system('id')"),
            ("python.system", 1, "from os import *"),
            ("python.file", 1, "open('/etc/passwd').read()"),
            // And their neighbours.
            ("python.import.process", 1, "import subprocess"),
            ("python.import.process", 1, "import concurrent.futures as f"),
            ("python.import.network", 1, "from urllib.request import urlopen"),
            ("python.import.native", 1, "import ctypes"),
            ("python.import.dynamic", 2, "def f():\n    import importlib"),
            ("python.import.pickle", 1, "import pickle as p"),
            ("python.import.file", 1, "import tempfile"),
            ("python.import.unknown", 1, "import antigravity"),
            ("python.builtin", 1, "e = eval"),
            ("python.builtin", 1, "exec('x')"),
            ("python.builtin", 1, "(lambda c: c)(compile)"),
            ("python.builtin", 1, "__builtins__['eval']"),
            ("python.system", 2, "import sys\nsys.modules['torch'] = None"),
            ("python.system", 2, "import sys as s\ns._getframe()"),
            ("python.system", 2, "import os\nf(os)"),
            ("python.system", 2, "import gc\ngc.get_objects()"),
            ("python.system", 2, "from inspect import signature\nimport inspect; inspect.stack()"),
            ("python.patch", 2, "import json\njson.loads = None"),
            ("python.patch", 2, "import torch\ndel torch.Tensor.backward"),
            ("python.patch", 2, "from torch import nn\nsetattr(nn.Module, '__call__', f)"),
            ("python.patch", 2, "import torch\ntorch.nn.Module.forward += 1"),
            ("python.patch", 2, "import os\nos.environ['X'] = '1'"),
            ("python.escape", 2, "import torch\ntorch.__dict__['load']"),
            ("python.internals", 1, "().__class__.__bases__[0].__subclasses__()"),
            ("python.internals", 1, "f.__globals__"),
            ("python.internals", 2, "def g(x):\n    getattr(x, '__code__')"),
            ("python.file", 2, "p = '/x'\nopen(p, 'w')"),
            ("python.file", 2, "import torch\ntorch.save({}, 'state.pt')"),
            ("python.file", 2, "import numpy as np\nnp.load('table.npy')"),
        ] {
            let finding = worst(source).unwrap_or_else(|| panic!("{source}"));
            assert_eq!((finding.rule.as_str(), finding.grade), (rule, Grade::Proof), "{source}: {finding:?}");
            assert!(
                found(source).iter().any(|one| one.rule == rule && one.line == line),
                "{source}: {:?}",
                found(source)
            );
        }
    }

    #[test]
    fn what_only_looks_odd_is_a_suspicion() {
        let noise: String = (0..100_u32).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761))).collect();
        let numbers: Vec<String> = (0..600).map(|n| format!("{n}.5")).collect();
        let groups: Vec<String> = (0..300).map(|n| format!("({n}, {n})")).collect();
        for (rule, source) in [
            ("python.payload.codec", "import base64".to_owned()),
            ("python.payload.codec", "from zlib import decompress".to_owned()),
            ("python.payload.literal", format!("x = '{noise}'")),
            ("python.payload.literal", format!("x = b'{}'", "a b".repeat(2000))),
            ("python.payload.literal", format!("x = [{}]", numbers.join(","))),
            ("python.payload.literal", format!("x = {{'a': [{}]}}", groups.join(","))),
            ("python.payload.literal", format!("x = {}", "7".repeat(300))),
            ("python.internals", "x['__subclasses__']".to_owned()),
            ("python.system", "import os\ndef f(os):\n    os.system('x')".to_owned()),
        ] {
            let finding = worst(&source).unwrap();
            assert_eq!((finding.rule.as_str(), finding.grade), (rule, Grade::Suspicion), "{source}: {finding:?}");
            assert_eq!(found(&source).iter().filter(|one| one.rule == rule).count(), 1, "{source}");
        }
    }

    /// What people write in models, recipes and checkpoints: at most a note.
    #[test]
    fn honest_code_passes() {
        let honest = r#"
from __future__ import annotations
import collections, copy, dataclasses, enum, functools, inspect, itertools, json, logging, math, os, random, sys, time
import torch, torch.nn as nn, torch.nn.functional as F
import torch.distributed as dist
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional
from torch import Tensor, einsum, optim
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.checkpoint import checkpoint
from torch.optim.lr_scheduler import LambdaLR
from blocks import Block
from . import blocks
from prism import TrainingRecipe

torch.backends.cuda.matmul.allow_tf32 = True
torch._dynamo.config.cache_size_limit = 64
torch.manual_seed(0)
log = logging.getLogger(__name__)

@dataclass
class Config:
    n_layer: int = 4
    bias: bool = False

    def kwargs(self):
        return {k: v for k, v in vars(self).items()} | dataclasses.asdict(self)

def rearrange(x, pattern):
    """einops at home"""
    left, right = (part.split() for part in pattern.split("->"))
    return x.permute(*[left.index(name) for name in right])

class Norm(nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.register_buffer("mask", torch.tril(torch.ones(8, 8)), persistent=False)
        self.__dict__.update(eps=eps)
        self.name = self.__class__.__name__
        setattr(self, "extra", None)

    @torch.no_grad()
    def reset(self): nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        act = getattr(F, self.activation) if hasattr(self, "activation") else F.gelu
        open = x.mean(-1, keepdim=True)
        compile = torch.compile
        eval = self.eval
        return act(x - open) * self.weight

def build_model(ctx):
    model = Norm(ctx.vocab_size)
    model.apply(lambda m: None)
    model.weight.data = model.weight.data * 2
    layer = nn.Linear
    layer = layer(1, 1)
    layer.weight = nn.Parameter(torch.zeros(1, 1))
    return torch.compile(model) if ctx.device == "cuda" else model

def get_recipe(ctx):
    return TrainingRecipe(learning_rate=float(os.environ.get("RATE", 3e-4)))

def configure_optimizer(model, recipe, ctx):
    fused = "fused" in inspect.signature(optim.AdamW).parameters
    opt = getattr(optim, recipe.optimizer)(model.parameters(), lr=recipe.learning_rate)
    for group in opt.param_groups: group["lr"] = 1e-3
    print("groups", len(opt.param_groups), file=sys.stderr)
    return opt

def train_step(model, batch, optimizer, ctx):
    start = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = F.cross_entropy(model(batch.tokens).flatten(0, 1), batch.targets.flatten())
    loss.backward()
    if dist.is_initialized(): dist.all_reduce(loss)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step(); optimizer.zero_grad(set_to_none=True)
    return loss

def write(thing, path):
    torch.save(thing, path)

def save_checkpoint(model, checkpoint_dir, ctx):
    write(model.state_dict(), os.path.join(checkpoint_dir, "model.pt"))
    torch.save(model.state_dict(), f"{checkpoint_dir}/again.pt")
    with open(Path(checkpoint_dir) / "meta.json", "w") as file: json.dump({"a": 1}, file)
    return {"path": "model.pt", "metadata": {}}

def load_checkpoint(model, checkpoint_dir, ctx):
    path = Path(checkpoint_dir) / "model.pt"
    model.load_state_dict(torch.load(path, map_location=ctx.device, weights_only=True))
"#;
        let files = BTreeMap::from([
            ("src/model.py".to_owned(), honest.to_owned()),
            ("src/blocks.py".to_owned(), "class Block: ...\nBlock.x = 1\n".to_owned()),
        ]);
        let odd: Vec<Finding> =
            findings(&Sources::parse(&files).unwrap()).into_iter().filter(|one| one.grade > Grade::Note).collect();
        assert_eq!(odd, vec![]);
    }

    #[test]
    fn files_that_stand_in_for_others_are_named() {
        let of = |path: &str| {
            let files = BTreeMap::from([(path.to_owned(), String::new())]);
            findings(&Sources::parse(&files).unwrap()).first().map(|one| one.grade)
        };
        assert_eq!(of("torch.py"), Some(Grade::Proof));
        assert_eq!(of("src/torch/nn.py"), Some(Grade::Proof));
        assert_eq!(of("sitecustomize.py"), Some(Grade::Proof));
        assert_eq!(of("os.py"), Some(Grade::Note));
        assert_eq!(of("src/types.py"), None);
        assert_eq!(of("model.py"), None);
    }

    #[test]
    fn an_own_file_makes_no_other_module_its_own() {
        let files = BTreeMap::from([
            ("os.py".to_owned(), String::new()),
            ("m.py".to_owned(), "import os\nos.system('x')\n".to_owned()),
        ]);
        let found = findings(&Sources::parse(&files).unwrap());
        assert!(found.iter().any(|one| one.rule == "python.system" && one.grade == Grade::Proof));
    }

    #[test]
    fn findings_are_bounded_and_the_gravest_stay() {
        let source: String = (0..300).map(|_| "getattr(x, y)\n").collect::<String>() + "import socket\n";
        let found = found(&source);
        assert_eq!(found.len(), MAX_FINDINGS);
        assert!(found.iter().any(|one| one.grade == Grade::Proof));
        let long = "x".repeat(100_000);
        assert!(worst(&format!("import {long}")).unwrap().text.len() <= 1000);
    }
}
