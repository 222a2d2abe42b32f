"""Exact token counts for OpenAI's models, when they can be had without waiting.

tiktoken downloads an encoding at its first use, with no timeout and under a lock, and takes half a second to load one
that it has kept. So an encoding is read here only from tiktoken's cache on disk, in the background, and nothing is
ever downloaded. Until an encoding is there, and for models of other providers, there is no count, and a text's bytes
are the bound: a token covers at least one.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import importlib.util
import logging
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NotRequired, TypedDict

from budgeted.fork_locks import ForkLocks
from budgeted.system.forks import at_fork

if TYPE_CHECKING:
    import tiktoken

_log = logging.getLogger("budgeted")
_COUNTED: Final = 100_000
"""Bytes of a text that are counted; tiktoken's time grows with them, and it panics on a million spaces."""

_LONGEST_NAME: Final = 512
_MOST_REMEMBERED: Final = 1024
_LONGEST_WAIT_TO_FORK: Final = 5.0  # seconds
_OPENAI: Final = re.compile(r"(chatgpt|codex|computer-use|gpt|o[1-9]|text-(davinci|embedding)|davinci|babbage)[-.\w]*")
_REASONING: Final = re.compile(r"o[134](-.*)?")
_loaded: dict[str, tiktoken.Encoding] = {}
_absent: set[tuple[str, str]] = set()  # encoding, cache directory: looked for in vain
_NO_TIKTOKEN: Final = ("", "")  # among them: nothing can be loaded at all
_encodings: dict[str, str | None] = {}  # by model
_lock = threading.Lock()
_loading: threading.Thread | None = None
_waiting: list[Callable[[], None]] = []  # what is called when that has ended


class _Description(TypedDict):
    """What an encoding is made of, as tiktoken takes it."""

    name: str
    pat_str: str
    mergeable_ranks: dict[bytes, int]
    special_tokens: dict[str, int]
    explicit_n_vocab: NotRequired[int]


def count(text: str, model: str) -> int | None:
    """Return how many tokens a text has, or None where that cannot be said at once.

    None for models that are not OpenAI's, and for as long as the encoding is not loaded. The first call starts
    loading it in the background, if it is in tiktoken's cache on disk. What is beyond the first 100 KB of a text
    counts one token per byte. Special tokens in it are counted as the text that they are.

    Args:
        text: any text, lone surrogates and all.
        model: the model's name, with or without a prefix such as `openai/`.
    """
    encoding = _encoding(model)
    if encoding is None:
        return None
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= _COUNTED:
        return _count(encoding, text)
    head = data[:_COUNTED].decode("utf-8", "ignore")
    counted = _count(encoding, head)
    return None if counted is None else counted + len(data) - len(head.encode())


def wait_loaded(timeout: float) -> bool:
    """Wait until what is being loaded is loaded, or found missing, for at most `timeout` seconds.

    Returns:
        False if it is still being loaded.
    """
    thread = _loading
    if thread is not None and thread is not threading.current_thread():
        thread.join(timeout)
        return not thread.is_alive()
    return True


def when_loaded(model: str, tell: Callable[[], None]) -> bool:
    """Have a function called when it is known whether a model's texts can be counted, if that is being found out.

    Args:
        model: the model's name, as :func:`count` was given it before, and had no count.
        tell: called once, in another thread; it may raise ``RuntimeError``, as what wakes a closed event loop does.

    Returns:
        False, and nothing is called, if there is nothing to wait for.
    """
    name = _encodings.get(model, "")  # "" while it is not known
    if name is None or _base(model) is None or name in _loaded or (name, _cache_directory()) in _absent:
        return False
    with _lock:
        if _loading is None:
            return False
        _waiting.append(tell)
    return True


def _count(encoding: tiktoken.Encoding, text: str) -> int | None:
    try:
        return len(encoding.encode_ordinary(text))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  # what Rust panics with is no Exception
        return None


def _encoding(model: str) -> tiktoken.Encoding | None:
    try:
        name = _encodings[model]
    except KeyError:
        return _meet(model)
    if name is None:
        return None
    found = _loaded.get(name) or _shared(name)  # without the lock: what is in there is whole
    if found is None and (name, _cache_directory()) not in _absent:
        _start(name)
    return found


def _meet(model: str) -> tiktoken.Encoding | None:
    """Find out a model's encoding, which takes the import of tiktoken: in the background, unless it was imported."""
    base = _base(model)
    if base is None:
        return None
    if "tiktoken.model" not in sys.modules:
        if _NO_TIKTOKEN not in _absent:
            _start(base)
        return None
    name = _name(base)
    with _lock:
        if len(_encodings) >= _MOST_REMEMBERED:
            _encodings.clear()
        _encodings[model] = name
    return _encoding(model) if name is not None else None


def _base(model: str) -> str | None:
    """Return a model's name without what surrounds it, or None if it cannot be one of OpenAI's."""
    if len(model) > _LONGEST_NAME:
        return None
    name = model.lower().rpartition("/")[2]
    if name.startswith("ft:"):
        name = name.split(":")[1]
    return name if _OPENAI.fullmatch(name) else None


def _name(base: str) -> str | None:
    if _REASONING.fullmatch(base):
        return "o200k_base"
    from tiktoken.model import encoding_name_for_model

    try:
        return encoding_name_for_model(base)
    except KeyError:
        return None


def _shared(name: str) -> tiktoken.Encoding | None:
    """Return the encoding if the application itself has made tiktoken load it."""
    registry = sys.modules.get("tiktoken.registry")
    found = getattr(registry, "ENCODINGS", {}).get(name)
    if found is not None:
        _loaded[name] = found
    return found


def _cache_directory() -> str:
    """Return where tiktoken keeps its files, as its `load.py` has it; "" if it is told to keep none."""
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if variable in os.environ:
            return os.environ[variable]
    return _default_cache_directory()


@functools.cache
def _default_cache_directory() -> str:
    try:
        return str(Path(tempfile.gettempdir(), "data-gym-cache"))
    except FileNotFoundError:  # nothing is writable here, and looking for it again takes milliseconds
        return ""


def _start(what: str) -> None:
    global _loading  # noqa: PLW0603
    with _lock:
        if _loading is None:
            thread = threading.Thread(target=_run, args=(what,), name="budgeted-tokens", daemon=True)
            thread.start()
            _loading = thread


def _run(what: str) -> None:
    global _loading  # noqa: PLW0603
    try:
        _load(what)
    finally:
        with _lock:
            _loading = None
            told, _waiting[:] = _waiting[:], []
        for tell in told:
            with contextlib.suppress(RuntimeError):
                tell()


def _load(what: str) -> None:
    """Load an encoding, given its name or that of a model. Whatever is wrong, texts are then bounded by their bytes."""
    directory = _cache_directory()
    name: str | None = what
    try:
        import tiktoken

        if what not in tiktoken.list_encoding_names():
            name = _name(what)
        if name is None or name in _loaded:
            return
        _loaded[name] = tiktoken.Encoding(**_description(name, directory))
    except ImportError as error:
        _absent.add(_NO_TIKTOKEN)
        _log.debug("budgeted: no token counts: %r", error)
    except Exception as error:  # noqa: BLE001
        _absent.add((name or what, directory))
        _log.debug("budgeted: no token counts with %s: %r", what, error)


def _description(name: str, directory: str) -> _Description:
    """Return what an encoding is made of, as tiktoken describes it, with the ranks from the file on disk.

    The module of descriptions is executed once more for us, so that its loader can be replaced in our copy alone:
    tiktoken's own goes to the network for a file that is missing or damaged.
    """
    spec = importlib.util.find_spec("tiktoken_ext.openai_public")
    if spec is None or spec.loader is None:
        raise FileNotFoundError("tiktoken_ext.openai_public")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "load_tiktoken_bpe"):
        raise NotImplementedError("this tiktoken loads its files in another way")

    def read(url: str, expected_hash: str | None = None) -> dict[bytes, int]:
        return _ranks(directory, url, expected_hash)

    def refuse(*_: object, **__: object) -> dict[bytes, int]:
        raise NotImplementedError("the encodings of GPT-2 are not kept as ranks")

    vars(module).update(load_tiktoken_bpe=read, data_gym_to_mergeable_bpe_ranks=refuse)
    description: _Description = module.ENCODING_CONSTRUCTORS[name]()
    return description


def _ranks(directory: str, url: str, expected_hash: str | None) -> dict[bytes, int]:
    """Read a file of tiktoken's cache, which names it after its URL: on each line a token in base64, and its rank."""
    if not directory:
        raise FileNotFoundError("tiktoken's cache is turned off")
    file = Path(directory, hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest())
    data = file.read_bytes()
    if expected_hash is not None and hashlib.sha256(data).hexdigest() != expected_hash:
        raise ValueError(f"{file} is damaged")
    pairs = (line.split() for line in data.splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


def _before_fork() -> None:
    # A child forked in the middle of an import would wait for ever for the lock of the module.
    with contextlib.suppress(Exception):  # such as gevent's, where that thread cannot run meanwhile
        wait_loaded(_LONGEST_WAIT_TO_FORK)
    _taken_for_fork.take(_lock)


def _after_fork_in_child() -> None:
    global _loading, _lock  # noqa: PLW0603
    _loading = None  # what took too long to wait for is loaded by nobody here
    _waiting.clear()
    _taken_for_fork.forget()
    _lock = threading.Lock()


_taken_for_fork = ForkLocks()

at_fork(before=_before_fork, after_in_parent=_taken_for_fork.give_back, after_in_child=_after_fork_in_child)
