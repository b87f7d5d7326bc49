"""A miner's files as importable modules, without a file system."""

import importlib.util
import linecache
import sys
from importlib.abc import Loader, MetaPathFinder

from . import Fault


class Part:
    """One part of a bundle: its sources by path, and the entry point among them."""

    def __init__(self, label, document):
        self.label = label
        self.entrypoint = document["entrypoint"]
        self.files = document["files"]
        if self.entrypoint not in self.files:
            raise Fault(f"{label}: entry point {self.entrypoint!r} is no file of the bundle")

    def find(self, name):
        """The path of a module's file and whether it is a package, looked for from the root and then from the entry
        point's folder; a folder without `__init__.py` has no file; None when there is nothing."""
        path = name.replace(".", "/")
        folder = self.entrypoint.rpartition("/")[0]
        for base in ("", folder + "/") if folder else ("",):
            if base + path + "/__init__.py" in self.files:
                return base + path + "/__init__.py", True
            if base + path + ".py" in self.files:
                return base + path + ".py", False
            if any(file.startswith(base + path + "/") for file in self.files):
                return None, True
        return None


class Modules(MetaPathFinder):
    """Finds modules in the parts of a bundle, the architecture's before the training's.

    It stands last on `sys.meta_path`: what the standard library and the runtime offer can't be replaced by a file of
    the same name. One file is one module, by whatever name it is imported.
    """

    def __init__(self, parts):
        self._parts = parts
        self.loaded = {}

    def install(self):
        """Makes the modules importable."""
        sys.meta_path.append(self)

    def entry(self, part):
        """Imports a part's entry point: by its path, so that no other file can stand in for it."""
        name = part.entrypoint.removesuffix(".py").replace("/", ".")
        loaded = self.loaded.get((part.label, part.entrypoint))
        if loaded is not None:
            return loaded
        loader = _Source(self, part, part.entrypoint)
        if name in sys.modules:
            name = f"{part.label}.{name}"
        spec = importlib.util.spec_from_loader(name, loader, origin=loader.origin)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            loader.exec_module(module)
        except BaseException:
            sys.modules.pop(name, None)
            raise
        return module

    def find_spec(self, fullname, path=None, target=None):
        for part in self._parts:
            found = part.find(fullname)
            if found is None:
                continue
            file, package = found
            loader = _Source(self, part, file)
            spec = importlib.util.spec_from_loader(fullname, loader, origin=loader.origin, is_package=package)
            return spec
        return None


class _Source(Loader):
    """Compiles one file of a part; without a file, an empty package."""

    def __init__(self, modules, part, file):
        self._modules, self._part, self._file = modules, part, file
        self.origin = f"<{part.label}>/{file or ''}"

    def create_module(self, spec):
        return self._modules.loaded.get((self._part.label, self._file)) if self._file else None

    def exec_module(self, module):
        key = self._part.label, self._file
        if self._file is None or key in self._modules.loaded:
            return
        source = self._part.files[self._file]
        # Tracebacks show the line.
        linecache.cache[self.origin] = (len(source), None, source.splitlines(keepends=True), self.origin)
        module.__file__ = self.origin
        self._modules.loaded[key] = module
        try:
            exec(compile(source, self.origin, "exec", dont_inherit=True), module.__dict__)
        except BaseException:
            del self._modules.loaded[key]
            raise
