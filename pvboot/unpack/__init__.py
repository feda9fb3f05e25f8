"""Every decompressor, bounded: a stream of packed bytes -> pieces of at most 1 MiB (`unpack`).

Each codec is imported when it is met.  What is packed, and what a damaged stream means, is the caller's to know.
"""

from pvboot.unpack.codecs import codec_of, unpack
from pvboot.unpack.errors import CutError, TooLargeError, UnpackError
from pvboot.unpack.stream import ByteStream, StreamTooLongError

__all__ = ["ByteStream", "CutError", "StreamTooLongError", "TooLargeError", "UnpackError", "codec_of", "unpack"]
