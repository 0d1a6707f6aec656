"""Java from Python, as little of it as an engine needs: classes by name, and memory that both sides can reach.

`java.nio` allocates direct buffers inside the app's Java heap on Android, which a phone limits to 256 or 512 MB; from
API 27 on large ones therefore lie in anonymous shared memory, outside of the heap and never in a file.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final, Protocol

from edge.errors import EdgeError, MissingToolError, ResourceError

SHARED_MEMORY_API: Final = 27
SHARED_FROM_BYTES: Final = 1 << 20  # smaller ones may stay in the heap: a step's own tensors come and go
# A buffer of Java counts its bytes in an int.
MOST_BUFFER_BYTES: Final = (1 << 31) - 64
_VIEWS: Final = {"float32": "asFloatBuffer", "int64": "asLongBuffer", "int32": "asIntBuffer"}


class Java(Protocol):
    """The way to Java's classes; pyjnius on a device, a stand-in in tests."""

    def find(self, name: str) -> Any:
        """The class of a full name. Errors: an exception of the layer's own where there is none."""
        ...

    def cast(self, name: str, value: Any) -> Any:
        """A Java object as another of its classes."""
        ...

    def to_bytes(self, array: Any) -> bytes:
        """A copy of a byte[] that Java returned."""
        ...


class PyJnius:
    """Implements Java with pyjnius. Errors: MissingToolError where there is none."""

    def __init__(self) -> None:
        try:
            import jnius  # type: ignore[import-not-found]
        except ImportError as error:
            raise MissingToolError("pyjnius is not installed", mend="run the app that `edge package` makes") from error
        self._jnius: Any = jnius

    def find(self, name: str) -> Any:
        """See Java."""
        return self._jnius.autoclass(name)

    def cast(self, name: str, value: Any) -> Any:
        """See Java."""
        return self._jnius.cast(name, value)

    def to_bytes(self, array: Any) -> bytes:
        """See Java."""
        return bytes(array.tostring())


class Memory:
    """A direct buffer of native byte order, its bytes reachable from both sides.

    Errors of the constructor: ResourceError without memory.
    """

    def __init__(self, java: Java, name: str, size_bytes: int) -> None:
        if not 0 < size_bytes <= MOST_BUFFER_BYTES:
            raise no_memory(f"{name} of {size_bytes} bytes")
        self._java = java
        self._bytes: Any = java.find("java.nio.ByteBuffer")
        self._shared: Any = None
        self.size_bytes = size_bytes
        try:
            self.buffer = self._allocate(name, size_bytes)
        except Exception as error:  # pyjnius has one exception for all of Java's
            raise no_memory(name) from error
        self.buffer.order(java.find("java.nio.ByteOrder").nativeOrder())

    def _allocate(self, name: str, size_bytes: int) -> Any:
        try:
            api = int(self._java.find("android.os.Build$VERSION").SDK_INT)
        except Exception:  # noqa: BLE001  not Android: an ordinary Java, whose direct buffers lie outside of its heap
            api = 0
        if api < SHARED_MEMORY_API or size_bytes < SHARED_FROM_BYTES:
            return self._bytes.allocateDirect(size_bytes)
        self._shared = self._java.find("android.os.SharedMemory").create(name, size_bytes)
        return self._shared.mapReadWrite()

    def read(self, at: int, count: int) -> bytes:
        """`count` bytes from `at` on; a copy."""
        window = self._window(at, count)
        heap = self._bytes.allocate(count)
        heap.put(window)
        return self._java.to_bytes(heap.array())

    def write(self, at: int, data: bytes) -> None:
        """Put `data` at `at`."""
        self._window(at, len(data)).put(data)

    def _window(self, at: int, count: int) -> Any:
        if at < 0 or count < 0 or at + count > self.size_bytes:
            raise ValueError("outside of the buffer")
        window = self.buffer.duplicate()
        window.limit(at + count)
        window.position(at)
        return window

    def view(self, kind: str, count: int) -> Any:
        """The first `count` numbers as Java's typed buffer. kind: float32, int64 or int32."""
        typed = getattr(self.buffer, _VIEWS[kind])()
        typed.limit(count)
        return typed

    def close(self) -> None:
        """Give the memory back; nothing may use it afterwards."""
        if self._shared is not None:
            with contextlib.suppress(Exception):
                self._java.find("android.os.SharedMemory").unmap(self.buffer)
                self._shared.close()
            self._shared = None


def no_memory(where: str) -> EdgeError:
    """Not enough memory, in one line."""
    return ResourceError(
        "not enough free memory", where=where, mend="close other apps or use a smaller model or context"
    )


def available() -> bool:
    """Whether this process can reach Java: on Android, with pyjnius."""
    try:
        import jnius  # noqa: F401
    except ImportError:
        return False
    return True
