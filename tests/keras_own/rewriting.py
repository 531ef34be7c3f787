"""A pass over the source of Keras's tests: which class they build their models of."""

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import sys

OURS = {
    "Model": "LossAwareModel",
    "Functional": "LossAwareModel",
    "Sequential": "LossAwareSequential",
}
PLACES = {"", "keras", "models", "keras.models", "keras.src", "keras.src.models"}


def dotted(node):
    """`a.b.c` of an expression that is a name with attributes; `None` of any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return before and f"{before}.{node.attr}"
    return None


def ours(name):
    """The expression for a class of ours, which imports nothing before it is needed."""
    return ast.parse(f"__import__('keras_trainsteps').{name}", mode="eval").body


def replaced(node):
    """The class of ours for a class of Keras; the node itself for anything else."""
    place, _, name = (dotted(node) or "").rpartition(".")
    return ours(OURS[name]) if name in OURS and place in PLACES else node


class OwnClasses(ast.NodeTransformer):
    """Puts our classes in the place of Keras's where a model is built or subclassed.

    Args:
        tree: The module; a class that it defines itself, called `Model`, stays.
    """

    def __init__(self, tree):
        self.defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}

    def visit_Call(self, node):
        self.generic_visit(node)
        if dotted(node.func) not in self.defined:
            node.func = replaced(node.func)
        return node

    def visit_ClassDef(self, node):
        self.generic_visit(node)
        names = [dotted(base) for base in node.bases]
        node.bases = [replaced(base) for base in node.bases]
        if "Trainer" in names:  # "A model is just a layer mixed in with a Trainer."
            plain = ("Trainer", "layers.Layer")
            kept = [base for base in node.bases if dotted(base) not in plain]
            node.bases = [*kept, ours("LossAwareModel")]
            node.body = [OwnConstructor().visit(statement) for statement in node.body]
        return node


class OwnConstructor(ast.NodeTransformer):
    """Calls the constructor of a whole model where a test calls that of its plain layer."""

    def visit_Attribute(self, node):
        self.generic_visit(node)
        return ours("LossAwareModel") if dotted(node) == "layers.Layer" else node


def is_absent(module):
    return importlib.util.find_spec(module.split(".")[0]) is None


def placeholders(aliases):
    """Statements that give each imported name the value `None`."""
    names = [(alias.asname or alias.name).split(".")[0] for alias in aliases]
    return ast.parse("".join(f"{name} = None\n" for name in names)).body


class AbsentModules(ast.NodeTransformer):
    """Lets a test be imported without what only Keras's repository or another backend has."""

    def visit_Import(self, node):
        absent = [alias for alias in node.names if is_absent(alias.name)]
        node.names = [alias for alias in node.names if alias not in absent]
        return [*([node] if node.names else []), *placeholders(absent)]

    def visit_ImportFrom(self, node):
        if node.module == "conftest":
            node.module = "tests.keras_own.repository"
        return placeholders(node.names) if is_absent(node.module) else node

    def visit_FunctionDef(self, node):
        return node  # an import inside a test is reached only on its own backend


def rewritten(source, path, *, with_ours):
    """The code of a test module."""
    tree = AbsentModules().visit(ast.parse(source, path))
    if with_ours:
        tree = OwnClasses(tree).visit(tree)
    return compile(ast.fix_missing_locations(tree), path, "exec")


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a test module rewritten."""

    with_ours = False

    def get_code(self, fullname):
        path = self.get_filename(fullname)
        return rewritten(self.get_data(path), path, with_ours=self.with_ours)


class LoaderWithOurs(Loader):
    with_ours = True


class Finder(importlib.abc.MetaPathFinder):
    """Finds the test modules of Keras, and the base of its tests, and has them rewritten."""

    def __init__(self, loader):
        self.loader = loader

    def find_spec(self, fullname, path=None, target=None):
        is_test = fullname.startswith("keras.src.") and fullname.endswith("_test")
        if not (is_test or fullname == "keras.src.testing.test_case"):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None:
            spec.loader = self.loader(fullname, spec.origin)
        return spec


def install(*, with_ours):
    """Rewrites every test module that is imported from now on."""
    sys.meta_path.insert(0, Finder(LoaderWithOurs if with_ours else Loader))
