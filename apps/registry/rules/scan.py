"""What a model's files are, and what a pickle among them would import when it is loaded. Pure: bytes in, findings out.

A pickle is a program: loading it may run anything. Its opcodes are read, never run (`pickletools.genops`), and the globals it would
import are listed. A name that is neither known to be harmless nor known to be harmful is a warning: somebody has to look.
"""

import bz2
import gzip
import io
import lzma
import pickle
import pickletools
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, BinaryIO

TOOL, TOOL_VERSION = "gatehouse artifact scan", "2"
MOST_PICKLE_BYTES = 512 * 1024 * 1024
MOST_OPCODES = 20_000_000
MOST_FINDINGS = 500

# kind -> (whether loading it runs no code, suffixes)
KINDS: Mapping[str, tuple[bool, tuple[str, ...]]] = {
    "safetensors": (True, (".safetensors",)),
    "onnx": (True, (".onnx",)),
    "skops": (True, (".skops",)),
    "gguf": (True, (".gguf",)),
    "booster": (True, (".ubj", ".xgb", ".lgb", ".cbm")),
    "table": (True, (".csv", ".parquet", ".feather", ".arrow", ".tsv")),
    "text": (True, (".txt", ".md", ".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".lock", ".jsonl", ".sig")),
    "code": (False, (".py", ".sh", ".js", ".so", ".dll", ".exe", ".pyc", ".whl", ".jar")),
    "pickle": (False, (".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle")),
    "torch": (False, (".pt", ".pth", ".ckpt")),
    "numpy": (False, (".npy", ".npz")),
    "keras": (False, (".h5", ".hdf5", ".keras", ".pb")),
}
TEXT_NAMES = {"MLmodel", "LICENSE", "README", "NOTICE"}
# Modules whose import by a pickle means that loading it does something else than building a model.
UNSAFE = {
    "os", "posix", "nt", "subprocess", "sys", "socket", "shutil", "pty", "runpy", "ctypes", "importlib", "code", "codeop", "commands",
    "webbrowser", "requests", "urllib", "http", "ftplib", "smtplib", "telnetlib", "asyncio", "multiprocessing", "threading", "signal",
    "pip", "bdb", "pdb", "timeit", "cProfile", "profile", "tempfile", "glob", "pathlib", "fileinput", "marshal", "pickle",
    "_pickle", "shelve", "sqlite3", "xmlrpc", "platform", "venv", "ensurepip", "torch.hub", "numpy.testing",
}  # fmt: skip
UNSAFE_NAMES = {
    *(f"{m}.{n}" for m in ("builtins", "__builtin__") for n in ("eval", "exec", "compile", "open", "__import__", "getattr", "setattr", "delattr", "globals", "locals", "vars", "input", "breakpoint", "apply", "execfile")),
    "operator.attrgetter", "operator.methodcaller", "operator.itemgetter", "functools.partial", "joblib.load", "cloudpickle.load", "dill.load",
    "numpy.load", "pandas.read_pickle", "torch.load", "numpy.f2py.diagnose.run_command",
}  # fmt: skip
HARMLESS = {
    "sklearn", "numpy", "scipy", "pandas", "xgboost", "lightgbm", "catboost", "collections", "datetime", "decimal", "fractions", "copyreg", "_codecs",
    "torch", "joblib", "statsmodels", "array", "uuid", "enum", "types", "dataclasses", "itertools", "math", "random", "re", "string", "abc", "typing",
}  # fmt: skip
HARMLESS_BUILTINS = {
    "set", "frozenset", "list", "dict", "tuple", "int", "float", "str", "bytes", "bytearray", "bool", "complex", "object", "slice", "range", "type",
}  # fmt: skip


def kind_of(path: str) -> tuple[str, bool]:
    """(kind, safe) of a file by its name; `other` counts as not known to be safe."""
    name = PurePosixPath(path).name
    suffix = PurePosixPath(path).suffix.lower()
    for kind, (safe, suffixes) in KINDS.items():
        if suffix in suffixes:
            return kind, safe
    return ("text", True) if name in TEXT_NAMES else ("other", False)


def may_hold_pickle(path: str) -> bool:
    """Whether the file has to be read: every kind that is not known to run nothing, plain code apart."""
    kind, safe = kind_of(path)
    return not safe and kind not in {"code", "keras"}


def judge(module: str, name: str) -> str:
    """`unsafe`, `warning` or "" for a global that a pickle would import."""
    full = f"{module}.{name}"
    top = module.split(".")[0]
    if full in UNSAFE_NAMES or top in UNSAFE or module in UNSAFE:
        return "unsafe"
    if module in {"builtins", "__builtin__"}:
        return "" if name in HARMLESS_BUILTINS else "warning"
    return "" if top in HARMLESS else "warning"


def findings_in(path: str, file: BinaryIO) -> list[dict[str, str]]:
    """Findings about one file: {path, level, what}; level `unsafe`, `warning` or `note`. The file has to be seekable."""
    out: list[dict[str, str]] = []

    def add(level: str, what: str) -> None:
        row = {"path": path, "level": level, "what": what}
        if row not in out and len(out) < MOST_FINDINGS:
            out.append(row)

    head = file.read(16)
    file.seek(0)
    if head[:4] == b"PK\x03\x04":
        _archive(path, file, add)
        return out
    if head[:6] == b"\x93NUMPY":
        _numpy(file, add)
        return out
    if (opened := _decompressed(head, file)) is None:
        if looks_like_pickle(head):
            _pickle(file, add)
        elif kind_of(path)[0] in {"pickle", "torch"}:
            add("warning", "It is named like a pickle and is none that can be read: nobody knows what loading it does.")
        return out
    with opened:
        data = io.BytesIO(opened.read(MOST_PICKLE_BYTES + 1))
    if data.getbuffer().nbytes > MOST_PICKLE_BYTES:
        add("warning", f"More than {MOST_PICKLE_BYTES // 1024**2} MiB when unpacked: not read.")
    elif looks_like_pickle(data.getvalue()[:2]):
        _pickle(data, add)
    return out


def looks_like_pickle(head: bytes) -> bool:
    """Protocol 2 and later begin with PROTO; older ones with an opcode of a text protocol."""
    return head[:1] == b"\x80" or head[:1] in (b"(", b"c", b"]", b"}", b"l", b"d")


def _decompressed(head: bytes, file: BinaryIO) -> Any:
    if head[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=file)
    if head[:3] == b"BZh":
        return bz2.BZ2File(file)
    if head[:6] == b"\xfd7zXZ\x00" or head[:3] == b"\x5d\x00\x00":
        return lzma.LZMAFile(file)
    if head[:1] == b"\x78" and head[1:2] in (b"\x01", b"\x5e", b"\x9c", b"\xda"):
        worker = zlib.decompressobj()
        return io.BytesIO(worker.decompress(file.read(MOST_PICKLE_BYTES), MOST_PICKLE_BYTES + 1))
    return None


def _archive(path: str, file: BinaryIO, add: Any) -> None:
    """Every member that may hold a pickle: PyTorch's `data.pkl`, NumPy's `.npz`."""
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist()[:10_000]:
                if member.is_dir() or not (may_hold_pickle(member.filename) and kind_of(member.filename)[0] in {"pickle", "numpy"}):
                    continue
                if member.file_size > MOST_PICKLE_BYTES:
                    add("warning", f"{member.filename}: more than {MOST_PICKLE_BYTES // 1024**2} MiB, not read.")
                    continue
                with archive.open(member) as inside:
                    data = io.BytesIO(inside.read(MOST_PICKLE_BYTES + 1))
                if data.getvalue()[:6] == b"\x93NUMPY":
                    _numpy(data, add)
                elif looks_like_pickle(data.getvalue()[:2]):
                    _pickle(data, add)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, zlib.error, EOFError) as error:
        add("warning", f"The archive cannot be read ({type(error).__name__}).")


def _numpy(file: BinaryIO, add: Any) -> None:
    """An array of objects is a pickle behind a header."""
    head = file.read(12)
    size = int.from_bytes(head[8:10], "little") if head[6:7] == b"\x01" else int.from_bytes(head[8:12], "little")
    start = (10 if head[6:7] == b"\x01" else 12) + min(size, 1_000_000)
    file.seek(len(head) if head[6:7] != b"\x01" else 10)
    described = file.read(min(size, 1_000_000))
    if b"|O" in described or b"'O'" in described:
        add("note", "It holds an array of objects: loading it unpickles.")
        file.seek(start)
        _pickle(file, add)


def _pickle(file: BinaryIO, add: Any) -> None:
    """Every global that the pickles in a stream would import, one pickle after the other."""
    add("note", "It is a pickle: loading it runs what it says.")
    try:
        while True:
            for module, name in globals_of(file):
                if level := judge(module, name):
                    what = "would be imported and may run anything" if level == "unsafe" else "is not known to be harmless"
                    add(level, f"{module}.{name} {what}.")
            if not file.read(1):
                return
            file.seek(-1, io.SEEK_CUR)
    except (ValueError, pickle.UnpicklingError, EOFError, OverflowError, MemoryError, UnicodeDecodeError, IndexError, OSError):
        # joblib writes the bytes of arrays between the opcodes: what was read until there counts, the rest is nobody's guess.
        add("warning", "It could not be read to its end as opcodes (joblib's arrays are such a case): what follows was not looked at.")


def globals_of(file: BinaryIO) -> Iterator[tuple[str, str]]:
    """(module, name) of each GLOBAL, INST and STACK_GLOBAL of one pickle. Names made at run time come as ("?", "?")."""
    strings: list[str] = []
    memo: dict[int, str] = {}
    last = ""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if count > MOST_OPCODES:
            raise ValueError("too many opcodes")
        name = opcode.name
        if name in {"GLOBAL", "INST"}:
            module, _, attribute = str(argument).partition(" ")
            yield module, attribute
        elif name == "STACK_GLOBAL":
            yield (strings[-2], strings[-1]) if len(strings) >= 2 else ("?", "?")
        elif name in {"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"}:
            memo[len(memo) if argument is None else int(str(argument))] = last
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            strings.append(memo.get(int(str(argument)), "?"))
            last = strings[-1]
            continue
        elif name in {"EXT1", "EXT2", "EXT4"}:
            yield "?", f"extension {argument}"
        if isinstance(argument, str) and name not in {"GLOBAL", "INST"}:
            strings.append(argument)
            last = argument
        elif name not in {"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "PROTO", "FRAME"}:
            last = "?"
        if len(strings) > 10_000:
            del strings[:-100]


def verdict_of(findings: list[dict[str, str]]) -> str:
    """`unsafe`, `warnings` or `clean`."""
    levels = {f["level"] for f in findings}
    return "unsafe" if "unsafe" in levels else "warnings" if "warning" in levels else "clean"
