"""Reads which file of a crate uses which other one: `use` statements, and paths in code.

It knows as much of Rust's grammar as that needs. Comments and what is compiled for tests only are left out. A path leads to the
file that defines the item it names, through re-exports. `mod x;` alone is no use, nor is the import of a module, nor a re-export
whose name the file itself does not use.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = re.compile(
    r"""
    (?P<skip>\s+|//[^\n]*)
  | (?P<block>/\*)
  | (?P<raw>b?c?r(?P<hashes>\#*)".*?"(?P=hashes))
  | (?P<string>[bc]?"(?:\\.|[^"\\])*")
  | (?P<char>b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\])')
  | (?P<lifetime>'\w+)
  | (?P<word>(?:r\#)?[^\W\d]\w*)
  | (?P<number>\d\w*(?:\.\d\w*)?)
  | (?P<sign>::|.)
    """,
    re.VERBOSE | re.DOTALL,
)
OPEN, CLOSE = {"(", "[", "{"}, {")", "]", "}"}
DEFINING = {"fn", "struct", "enum", "union", "trait", "type", "const", "static", "macro_rules"}
ITEM = DEFINING | {"mod", "use", "impl", "extern", "unsafe", "async"}


@dataclass(frozen=True)
class Token:
    text: str
    line: int
    kind: str


def tokens_of(text: str) -> list[Token]:
    tokens, at, line = [], 0, 1
    while at < len(text):
        match = TOKEN.match(text, at)
        end, kind = match.end(), match.lastgroup
        if match["raw"] is not None:
            kind = "string"
        if kind == "block":
            end = end_of_block_comment(text, end)
        elif kind != "skip":
            tokens.append(Token(match[0].removeprefix("r#") if kind == "word" else match[0], line, kind))
        line += text.count("\n", at, end)
        at = end
    return tokens


def end_of_block_comment(text: str, at: int) -> int:
    depth = 1
    for match in re.compile(r"/\*|\*/").finditer(text, at):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return len(text)


def closing(tokens: list[Token], at: int) -> int:
    """The place of the bracket that closes the one at `at`."""
    depth = 0
    for place in range(at, len(tokens)):
        if tokens[place].kind == "sign":
            depth += (tokens[place].text in OPEN) - (tokens[place].text in CLOSE)
            if depth == 0:
                return place
    return len(tokens) - 1


def is_for_tests(attribute: list[Token]) -> bool:
    words = [token.text for token in attribute if token.kind == "word"]
    return words[:1] == ["test"] or (words[:1] == ["cfg"] and "test" in words and not {"not", "any"} & set(words))


def end_of_item(tokens: list[Token], at: int) -> int:
    """One past an item, field, variant or statement."""
    word = at
    if tokens[word].text == "pub":
        word += 1
        if word < len(tokens) and tokens[word].text == "(":
            word = closing(tokens, word) + 1
    is_item = word < len(tokens) and tokens[word].text in ITEM
    has_body = is_item and tokens[word].text not in {"const", "static", "use", "type"}
    while at < len(tokens):
        text = tokens[at].text
        if text in CLOSE:
            return at
        if text == ";" or (text == "," and not is_item):
            return at + 1
        if text in OPEN:
            at = closing(tokens, at)
            if text == "{" and has_body:
                return at + 1
        at += 1
    return at


def without_tests(tokens: list[Token]) -> list[Token]:
    kept, at = [], 0
    while at < len(tokens):
        if tokens[at].text == "#" and at + 1 < len(tokens) and tokens[at + 1].text == "[":
            end = closing(tokens, at + 1)
            if is_for_tests(tokens[at + 2 : end]):
                at = end + 1
                while at + 1 < len(tokens) and tokens[at].text == "#" and tokens[at + 1].text == "[":
                    at = closing(tokens, at + 1) + 1
                at = end_of_item(tokens, at) if at < len(tokens) else at
                continue
        kept.append(tokens[at])
        at += 1
    return kept


@dataclass(frozen=True)
class Import:
    """`use path as name`, one leaf of a `use` tree. A glob has the name `*`."""

    path: tuple[str, ...]
    name: str
    line: int
    exported: bool


@dataclass
class Module:
    path: tuple[str, ...]
    file: Path
    parent: "Module | None"
    children: dict[str, "Module"] = field(default_factory=dict)
    defined: set[str] = field(default_factory=set)
    imports: list[Import] = field(default_factory=list)
    # Paths in code with their lines, and every word in it.
    paths: list[tuple[tuple[str, ...], int]] = field(default_factory=list)
    words: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Arrow:
    """File `source` uses something that file `target` defines; `line` of the source says so."""

    source: Path
    target: Path
    line: int


class Crate:
    """The modules of a crate, from the roots `lib.rs` and `main.rs` in its folder `src`."""

    def __init__(self, folder: Path):
        self.source = folder / "src"
        self.name = folder.name.replace("-", "_")
        self.modules: list[Module] = []
        self.lost: list[str] = []
        roots = [self.source / name for name in ("lib.rs", "main.rs")]
        self.roots = [self.read((), root, None, self.source) for root in roots if root.is_file()]
        if not self.roots:
            raise FileNotFoundError(f"{self.source} has neither lib.rs nor main.rs")

    def files(self) -> list[Path]:
        return sorted({module.file for module in self.modules})

    def read(self, path: tuple[str, ...], file: Path, parent: Module | None, folder: Path) -> Module:
        module = Module(path, file, parent)
        self.modules.append(module)
        self.body(module, without_tests(tokens_of(file.read_text(encoding="utf-8"))), folder)
        return module

    def body(self, module: Module, tokens: list[Token], folder: Path) -> None:
        """`folder` is where the files of the module's children lie."""
        at, depth, renamed = 0, 0, None
        while at < len(tokens):
            token = tokens[at]
            following = tokens[at + 1].text if at + 1 < len(tokens) else ""
            if token.text == "#" and following in {"[", "!"}:
                end = closing(tokens, at + (1 if following == "[" else 2))
                inner = tokens[at + 2 : end]
                if depth == 0 and inner and inner[0].text == "path":
                    renamed = inner[-1].text.strip('"')
                at = end + 1
                continue
            if token.text == "mod" and at + 2 < len(tokens) and tokens[at + 2].text in {";", "{"}:
                at = self.child(module, tokens, at, folder, renamed)
                renamed = None
                continue
            if token.text == "use" and token.kind == "word" and following != "<":
                end = at + 1
                while end < len(tokens) and tokens[end].text != ";":
                    end = closing(tokens, end) + 1 if tokens[end].text in OPEN else end + 1
                exported = at > 0 and tokens[at - 1].text in {"pub", ")"}
                module.imports += self.use_tree(tokens[at + 1 : end], (), exported, token.line)
                at = end + 1
                continue
            if token.kind == "word":
                at = self.word(module, tokens, at, depth)
                continue
            depth += (token.text in OPEN) - (token.text in CLOSE) if token.kind == "sign" else 0
            at += 1

    def child(self, module: Module, tokens: list[Token], at: int, folder: Path, renamed: str | None) -> int:
        """Reads the module that `tokens[at]` declares. Returns the place behind the declaration."""
        name = tokens[at + 1].text
        path = (*module.path, name)
        if tokens[at + 2].text == "{":
            end = closing(tokens, at + 2)
            child = Module(path, module.file, module)
            self.modules.append(child)
            self.body(child, tokens[at + 3 : end], folder / name)
        else:
            end = at + 2
            candidates = [folder / f"{name}.rs", folder / name / "mod.rs"]
            if renamed is not None:
                candidates = [module.file.parent / renamed]
            file = next((file for file in candidates if file.is_file()), None)
            if file is None:
                raise FileNotFoundError(f"{module.file}:{tokens[at].line}: no file for module {name}")
            below = file.parent if file.name == "mod.rs" else file.parent / file.stem
            child = self.read(path, file, module, below)
        module.children[name] = child
        return end + 1

    @staticmethod
    def word(module: Module, tokens: list[Token], at: int, depth: int) -> int:
        """Takes in the path or the word at `at`. Returns the place behind it."""
        start, previous = tokens[at], tokens[at - 1].text if at else ""
        if depth == 0 and previous in DEFINING:
            module.defined.add(start.text)
        if depth == 0 and start.text == "macro_rules" and at + 2 < len(tokens):
            module.defined.add(tokens[at + 2].text)
        path = [start.text]
        while at + 2 < len(tokens) and tokens[at + 1].text == "::" and tokens[at + 2].kind == "word":
            path.append(tokens[at + 2].text)
            at += 2
        module.words.update(path)
        if len(path) > 1 and previous != "::":
            module.paths.append((tuple(path), start.line))
        return at + 1

    def use_tree(self, tokens: list[Token], prefix: tuple[str, ...], exported: bool, line: int) -> list[Import]:
        imports, at, path = [], 0, list(prefix)
        while at < len(tokens):
            token = tokens[at]
            if token.text == "{":
                end = closing(tokens, at)
                imports += self.use_tree(tokens[at + 1 : end], tuple(path), exported, token.line)
                path, at = [], end + 1
                continue
            if token.text == ",":
                imports += self.leaf(path, prefix, exported, line)
                path = list(prefix)
            elif token.text == "as":
                path = path[:-1] if path[-1] == "self" and len(path) > 1 else path
                imports.append(Import(tuple(path), tokens[at + 1].text, token.line, exported))
                path, at = [], at + 1
            elif token.kind == "word" or token.text == "*":
                path.append(token.text)
                line = token.line
            at += 1
        return imports + self.leaf(path, prefix, exported, line)

    @staticmethod
    def leaf(path: list[str], prefix: tuple[str, ...], exported: bool, line: int) -> list[Import]:
        if len(path) <= len(prefix):
            return []
        if path[-1] == "self" and len(path) > 1:
            path = path[:-1]
        if path[-1] == "*":
            return [Import(tuple(path[:-1]), "*", line, exported)]
        return [Import(tuple(path), path[-1], line, exported)]

    def resolve(
        self, module: Module, path: tuple[str, ...], within: tuple[Import, ...] = ()
    ) -> tuple[Module, str] | None:
        """The module that defines what `path` names, and the name there (empty for the module itself). None: another crate's.

        `within` are the imports on the way here: none leads through itself (`use anyhow::anyhow`, and globs in a circle).
        """
        place, rest = self.start(module, path)
        if place is None:
            return None
        while rest:
            name, rest = rest[0], rest[1:]
            if name in place.children:
                place = place.children[name]
                continue
            if name in place.defined:
                return place, name
            for each in (each for each in place.imports if each.name in {name, "*"} and each not in within):
                path = (*each.path, name, *rest) if each.name == "*" else (*each.path, *rest)
                found = self.resolve(place, path, (*within, each))
                if found is not None:
                    return found
            return None
        return place, ""

    def start(self, module: Module, path: tuple[str, ...]) -> tuple[Module | None, tuple[str, ...]]:
        first, rest = path[0], path[1:]
        root = module
        while root.parent is not None:
            root = root.parent
        if first == "crate":
            return root, rest
        if first == self.name and self.roots[0].file.name == "lib.rs":
            return self.roots[0], rest
        if first in {"self", "super"}:
            place: Module | None = module if first == "self" else module.parent
            while place is not None and rest and rest[0] == "super":
                place, rest = place.parent, rest[1:]
            return place, rest
        return module, path

    def arrows(self) -> list[Arrow]:
        """One for each pair of files: the first line that says so."""
        first: dict[tuple[Path, Path], int] = {}

        def found(module: Module, target: Module, line: int) -> None:
            if target.file != module.file:
                pair = (module.file, target.file)
                first[pair] = min(line, first.get(pair, line))

        for module in self.modules:
            for each in module.imports:
                place = self.resolve(module, each.path)
                if place is None:
                    self.note_lost(module, each.path, each.line)
                    continue
                target, name = place
                names = target.defined if each.name == "*" else {each.name}
                if each.exported and not names & module.words:
                    continue
                # A module's import says nothing yet: the paths through it do.
                if name or each.name == "*":
                    found(module, target, each.line)
            for path, line in module.paths:
                place = self.resolve(module, path)
                if place is None:
                    self.note_lost(module, path, line)
                elif place[1]:
                    found(module, place[0], line)
        return [Arrow(source, target, line) for (source, target), line in sorted(first.items())]

    def note_lost(self, module: Module, path: tuple[str, ...], line: int) -> None:
        """A path of this crate that leads to nothing would hide an arrow: what a macro defines, for example."""
        if path[0] in {"crate", "self", "super"} and len(path) > 1:
            self.lost.append(f"{module.file}:{line}: {'::'.join(path)}")
