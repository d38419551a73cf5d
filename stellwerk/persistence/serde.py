"""Strict serialisation: what is read back is data, or an object of a type that was allowed beforehand.

LangGraph's `JsonPlusSerializer` builds whatever a stored row names, so that whoever can write to the
database can run code; in its own strict mode it hands out a plain dict in place of a model. This one
raises. Objects are written as LangGraph writes them, so both read each other's rows.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from collections.abc import Callable, Collection, Iterable
from typing import Any, Self

import ormsgpack

# The set that LangGraph itself deems safe has no public name; a copy would grow old.
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_METHODS, SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.base import CipherProtocol, SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_DELTA_SNAPSHOT,
    EXT_METHOD_SINGLE_ARG,
    EXT_NUMPY_ARRAY,
    EXT_PYDANTIC_V1,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
)
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from pydantic import BaseModel, RootModel

from stellwerk.errors import ConfigurationError, MissingExtraError, UntrustedDataError
from stellwerk.persistence.allowed import Allowed, allowed_names

_Builder = Callable[[Any], Any]
_Builders = dict[tuple[Any, ...], tuple[Any, _Builder]]
_CONSTRUCTORS = {
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_METHOD_SINGLE_ARG,
    EXT_PYDANTIC_V1,
    EXT_PYDANTIC_V2,
}


class StrictSerializer(JsonPlusSerializer):
    """Reads plain data, LangGraph's and LangChain's own types, and the types that are allowed.

    Args:
        allow: more types, as classes or as (module, name). With a class that has fields (a pydantic model,
            dataclass, typed dict or named tuple), the data types of its fields are allowed as well.
    """

    def __init__(self, allow: Iterable[Allowed] = ()) -> None:
        self._allow = allowed_names(allow)
        self._builders: _Builders = {}
        super().__init__(allowed_msgpack_modules=tuple(self._allow), __unpack_ext_hook__=self._build)

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[Allowed]) -> Self:
        """A serializer that allows these types as well."""
        extra = allowed_names(extra_allowlist)
        return self if extra <= self._allow else type(self)(self._allow | extra)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The object of a type and its bytes.

        Raises:
            UntrustedDataError: if it is not msgpack or plain bytes, or of a type that is not allowed.
        """
        kind, payload = data
        if kind == "msgpack":
            return _Reading(self._allow, self._builders).unpack(payload)
        if kind in ("null", "bytes", "bytearray"):
            return super().loads_typed(data)
        raise UntrustedDataError(
            f"a stored value is of the kind {kind!r}, which is not read; it was written by another program"
        )

    def _build(self, code: int, payload: bytes) -> Any:
        return _Reading(self._allow, self._builders).build(code, payload)


class _Reading:
    """One value that is read: objects within objects have the same rules."""

    __slots__ = ("_allow", "_builders", "_failed")

    def __init__(self, allow: frozenset[tuple[str, ...]], builders: _Builders) -> None:
        self._allow, self._builders = allow, builders
        self._failed: BaseException | None = None

    def unpack(self, payload: bytes) -> Any:
        """The value of some msgpack.

        Raises:
            UntrustedDataError: if it is damaged, or holds what is not allowed.
        """
        try:
            return ormsgpack.unpackb(payload, ext_hook=self._hook, option=ormsgpack.OPT_NON_STR_KEYS)
        except Exception as error:
            # ormsgpack says of any error in a hook only that there was one.
            cause = self._failed or error
            self._failed = None
            if isinstance(cause, UntrustedDataError) or not isinstance(cause, Exception):
                raise cause from None
            raise UntrustedDataError(
                f"a stored value is damaged: {type(cause).__name__}: {_brief(cause)}"
            ) from cause

    def _hook(self, code: int, payload: bytes) -> Any:
        try:
            return self.build(code, payload)
        except BaseException as error:
            self._failed = error
            raise

    def build(self, code: int, payload: bytes) -> Any:
        """The object of an extension type.

        Raises:
            UntrustedDataError: as `unpack`.
        """
        if code == EXT_DELTA_SNAPSHOT:
            return _DeltaSnapshot(self.unpack(payload))
        if code == EXT_NUMPY_ARRAY:
            return _array(*self.unpack(payload))
        if code not in _CONSTRUCTORS:
            raise UntrustedDataError(f"a stored value has the unknown type code {code}")
        try:
            module, name, argument, *method = self.unpack(payload)
        except UntrustedDataError:
            # Name the outermost: to allow it allows what is in its fields.
            outer = _names(payload)
            if outer and code != EXT_METHOD_SINGLE_ARG and not self._is_allowed(*outer):
                raise _refused(*outer) from None
            raise
        if code == EXT_METHOD_SINGLE_ARG:
            if (module, name, *method) not in SAFE_MSGPACK_METHODS:
                raise _refused(module, f"{name}.{'.'.join(map(str, method))}")
        elif not self._is_allowed(module, name):
            raise _refused(module, name)
        try:
            cls, builder = self._builders.get((code, module, name, *method), (None, None))
            # A notebook may have defined the class anew.
            if builder is None or getattr(sys.modules.get(module), name, None) is not cls:
                cls = getattr(importlib.import_module(module), name)
                builder = _builder(code, cls, method)
                self._builders[code, module, name, *method] = cls, builder
            return builder(argument)
        except UntrustedDataError:
            raise
        except Exception as error:
            # LangGraph would go on with the bare fields; a state that changed its type is no state.
            raise UntrustedDataError(
                f"a stored {module}.{name} cannot be built from what is stored ({type(error).__name__}: "
                f"{_brief(error)}); was the class moved or changed?"
            ) from error

    def _is_allowed(self, module: str, name: str) -> bool:
        return (module, name) in SAFE_MSGPACK_TYPES or (module, name) in self._allow


def _names(payload: bytes) -> tuple[str, str] | None:
    """Module and name of an object, of which nothing is built."""
    match ormsgpack.unpackb(payload, ext_hook=lambda code, part: None, option=ormsgpack.OPT_NON_STR_KEYS):
        case [str(module), str(name), *_]:
            return module, name
    return None


class _GCM:
    """A cipher: AES-GCM."""

    name = "aesgcm"

    def __init__(self, key: bytes) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise MissingExtraError("cryptography", "encryption") from None
        if not isinstance(key, bytes) or len(key) not in (16, 24, 32):
            size = f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__
            raise ConfigurationError(f"the key is {size}; give 16, 24 or 32 random bytes")
        self._aes = AESGCM(key)

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        """The cipher's name, and nonce and ciphertext."""
        nonce = os.urandom(12)
        return self.name, nonce + self._aes.encrypt(nonce, plaintext, None)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        """What was encrypted."""
        if ciphername != self.name:
            raise ValueError(f"{ciphername!r} is another cipher")
        return self._aes.decrypt(ciphertext[:12], ciphertext[12:], None)


class StrictEncryptedSerializer(EncryptedSerializer):
    """Encrypts what is stored, and refuses to read what is not encrypted.

    A value can neither be read nor made without the key, but it is not bound to its place: who can write to
    the database can put one encrypted value in the place of another. Ids of threads, runs and tasks, and
    names of channels, are not encrypted.

    Args:
        cipher: see `EncryptedSerializer`; `with_key` makes one.
        serde: what it wraps.
    """

    def __init__(self, cipher: CipherProtocol, serde: SerializerProtocol | None = None) -> None:
        super().__init__(cipher, serde or StrictSerializer())

    @classmethod
    def with_key(cls, key: bytes, serde: SerializerProtocol | None = None) -> Self:
        """AES in GCM mode, by the package `cryptography`.

        A nonce is 96 random bits: use one key for no more than 2^32 values.

        Args:
            key: 16, 24 or 32 bytes.
            serde: what it wraps; `StrictSerializer` if None.

        Raises:
            ConfigurationError: if the key is of another length.
            MissingExtraError: if `cryptography` is not installed.
        """
        return cls(_GCM(key), serde)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """A type and encrypted bytes, in which the type stands again: the one outside could be changed."""
        kind, payload = self.serde.dumps_typed(obj)
        cipher, encrypted = self.cipher.encrypt(kind.encode() + b"\0" + payload)
        return f"{kind}+{cipher}", encrypted

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The object of a type and its encrypted bytes.

        Raises:
            UntrustedDataError: if the value is not encrypted, or cannot be decrypted.
        """
        kind, payload = data
        if "+" not in kind:
            raise UntrustedDataError(
                "a stored value is not encrypted, and encryption is on: it was written without it, or by an "
                "intruder"
            )
        inner, cipher = kind.split("+", 1)
        try:
            plain = self.cipher.decrypt(cipher, bytes(payload))
        except Exception as error:
            raise UntrustedDataError(
                f"a stored value cannot be decrypted ({type(error).__name__}); is it the same key?"
            ) from error
        sealed, found, value = plain.partition(b"\0")
        if not found or sealed.decode("utf-8", "replace") != inner:
            raise UntrustedDataError(f"a stored value is marked {inner!r}, and was not encrypted as that")
        return self.serde.loads_typed((inner, value))

    def with_msgpack_allowlist(self, extra_allowlist: Collection[Allowed]) -> Self:
        """As `StrictSerializer.with_msgpack_allowlist`."""
        if not isinstance(self.serde, JsonPlusSerializer):
            return self
        return type(self)(self.cipher, self.serde.with_msgpack_allowlist(extra_allowlist))


def _refused(module: str, name: str) -> UntrustedDataError:
    return UntrustedDataError(
        f"a stored value is a {module}.{name}, which is not allowed to be built; "
        f"if it is yours, allow it: allow=[{name}]"
    )


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _builder(code: int, cls: Any, method: list[str]) -> _Builder:
    match code:
        case 1 if cls.__name__ == "Send":  # EXT_CONSTRUCTOR_POS_ARGS
            return lambda given: cls(*given[:2], timeout=given[2]) if len(given) == 3 else cls(*given)
        case 1:
            return lambda given: cls(*given)
        case 2 if dataclasses.is_dataclass(cls):
            return lambda given: _dataclass(cls, given)
        case 5 if issubclass(cls, BaseModel):
            return _model(cls)
        case 2 | 4 | 5:  # keyword arguments: named tuples, models of pydantic 1
            return lambda given: cls(**given)
        case 3:
            made: _Builder = getattr(cls, method[0])
            return made
    return lambda given: cls(given)


def _dataclass(cls: Any, values: dict[str, Any]) -> Any:
    later = {field.name for field in dataclasses.fields(cls) if not field.init}
    made = cls(**{name: value for name, value in values.items() if name not in later})
    for name in later & values.keys():
        object.__setattr__(made, name, values[name])  # a frozen one as well
    return made


def _model(cls: type[BaseModel]) -> _Builder:
    computed = frozenset(cls.model_computed_fields)
    aliased = any(field.alias or field.validation_alias for field in cls.model_fields.values())
    if not computed and not aliased and not issubclass(cls, RootModel):
        # Not `model_validate`: it checks a class with an `__init__` of its own, as messages have, twice.
        return lambda values: cls(**values)

    def build(values: Any) -> BaseModel:
        if isinstance(values, dict):
            values = {name: value for name, value in values.items() if name not in computed}
        # By name, as it was stored: by its alias alone, a field would silently get its default.
        return cls.model_validate(values, by_name=True)

    return build


def _array(dtype: str, shape: tuple[int, ...], order: Any, buffer: bytes) -> Any:
    import numpy

    kind = numpy.dtype(dtype)
    if kind.hasobject:
        raise UntrustedDataError("a stored array holds Python objects, which are not read")
    return numpy.frombuffer(buffer, dtype=kind).reshape(shape, order=order)
