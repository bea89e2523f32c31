"""The two runtimes, MicroPython (unix) and CPython, behind one face.

This is the one module that knows there are two. Everything here means the same on both:
a monotonic clock, waiting for file descriptors from the asyncio loop, child processes,
signals, and the few system calls that MicroPython reaches through `ffi`.

Failures of system calls are OSError with `errno` set, on both runtimes.
"""

import asyncio
import binascii
import errno
import gc
import hashlib
import os
import socket
import struct
import sys
import time

try:
    import ffi
    import tls
    import uctypes
except ImportError:
    ffi = None
    import signal
    import ssl as tls

EPIPE = 32  # which MicroPython does not name
SIGHUP = 1
SIGINT = 2
SIGKILL = 9
SIGTERM = 15
_O_CLOEXEC = 0x80000
_OUTPUT = 4096  # bytes kept of what a program prints, where no more are asked for
_AGAIN = (errno.EAGAIN, 2, 3)  # 2 and 3: CPython's SSL_ERROR_WANT_READ and _WRITE


def hmac_sha256(key, message):
    """HMAC-SHA256 of two byte strings as 64 hexadecimal digits (RFC 2104; MicroPython has no hmac)."""
    if len(key) > 64:
        key = hashlib.sha256(key).digest()
    key = key + bytes(64 - len(key))
    inner = hashlib.sha256(bytes([byte ^ 0x36 for byte in key]) + message).digest()
    return hexlify(hashlib.sha256(bytes([byte ^ 0x5C for byte in key]) + inner).digest())


def sha256(data):
    """SHA-256 of bytes as 64 hexadecimal digits."""
    return hexlify(hashlib.sha256(data).digest())


def digest(pieces):
    """SHA-256 of texts one after the other, as 32 bytes."""
    total = hashlib.sha256()
    for piece in pieces:
        total.update(piece.encode())
    return total.digest()


def hexlify(data):
    """Bytes as lower-case hexadecimal text."""
    return binascii.hexlify(data).decode()


def random_fraction():
    """A random number in [0, 1), for jitter."""
    return struct.unpack("<H", os.urandom(2))[0] / 65536


def exists(path):
    """Whether something is at `path`."""
    try:
        os.stat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, 20):  # 20: ENOTDIR, which MicroPython does not name
            return False
        raise
    return True


def reason(error):
    """What an OSError says, in words: MicroPython knows many of them by number only."""
    if len(error.args) > 1:
        return str(error.args[1])
    number = error.args[0]  # what CPython has as errno only beside a text
    return _libc.func("s", "strerror", "i")(number) if ffi else os.strerror(number)


def try_recv(sock, size):
    """Bytes read now (b'' at the end of the stream), or None where that would block."""
    try:
        return sock.recv(size) if hasattr(sock, "recv") else sock.read(size)  # MicroPython's TLS sockets only read
    except OSError as error:
        if error.errno in _AGAIN:
            return None
        raise


def try_send(sock, data):
    """Number of bytes taken now, 0 where that would block."""
    try:
        return (sock.send(data) if hasattr(sock, "send") else sock.write(data)) or 0
    except OSError as error:
        if error.errno in _AGAIN:
            return 0
        raise


if ffi:
    RUNTIME = "micropython"
    _GARBAGE = 65536  # bytes, at most, or garbage fills the whole heap, and stays resident
    gc.threshold(_GARBAGE)
    print_exception = sys.print_exception

    def _load(library):
        def call(result, name, arguments):
            function = library.func(result, name, arguments)

            def checked(*values):
                value = function(*values)
                if value == -1:
                    raise OSError(os.errno())
                return value

            return checked

        return call

    def flush():
        """Writes out what was printed. Raises OSError; what could not be written is forgotten then."""

    _libc = ffi.open(None)
    _call = _load(_libc)
    _c_close = _call("i", "close", "i")
    _c_read = _call("i", "read", "iPI")
    _c_open = _call("i", "open", "sii")
    _c_fsync = _call("i", "fsync", "i")
    _c_fcntl = _call("i", "fcntl", "iii")
    _c_chmod = _call("i", "chmod", "si")
    _c_umask = _call("i", "umask", "i")
    _c_setenv = _call("i", "setenv", "ssi")
    _c_execv = _call("i", "execv", "sP")
    _c_kill = _call("i", "kill", "ii")
    _c_getpid = _call("i", "getpid", "")
    _c_pipe2 = _call("i", "pipe2", "Pi")
    _c_waitpid = _call("i", "waitpid", "iPi")
    _c_sigprocmask = _call("i", "sigprocmask", "iPP")
    _c_signalfd = _call("i", "signalfd", "iPi")
    _c_utimes = _call("i", "utimes", "sP")
    _c_madvise = _call("i", "madvise", "PLi")
    # These four report by their value, not by errno.
    _c_spawn = _libc.func("i", "posix_spawnp", "PsPPPP")
    _c_actions_init = _libc.func("i", "posix_spawn_file_actions_init", "P")
    _c_actions_dup2 = _libc.func("i", "posix_spawn_file_actions_adddup2", "Pii")
    _c_actions_destroy = _libc.func("i", "posix_spawn_file_actions_destroy", "P")
    _c_attr_init = _libc.func("i", "posix_spawnattr_init", "P")
    _c_attr_flags = _libc.func("i", "posix_spawnattr_setflags", "Pi")
    _c_attr_mask = _libc.func("i", "posix_spawnattr_setsigmask", "PP")
    _c_attr_default = _libc.func("i", "posix_spawnattr_setsigdefault", "PP")
    _c_environ = _libc.var("P", "environ")

    _seconds = 0.0
    _last_tick = time.ticks_ms()

    def monotonic():
        """Seconds on a clock that never goes back, as a float; the zero is arbitrary.

        ticks_ms wraps (after 12 days where integers are 32 bits wide), so the differences are added up.
        """
        global _seconds, _last_tick
        now = time.ticks_ms()
        _seconds += time.ticks_diff(now, _last_tick) / 1000
        _last_tick = now
        return _seconds

    ticks_us = time.ticks_us
    ticks_diff = time.ticks_diff

    def readable(file):
        """Waits until a socket or file descriptor can be read (or is at its end, or broken)."""
        yield asyncio.core._io_queue.queue_read(file)

    def writable(file):
        """Waits until a socket or file descriptor can be written."""
        yield asyncio.core._io_queue.queue_write(file)

    def fsync(path):
        """Flushes a file or a folder to its disk."""
        descriptor = _c_open(path, 0, 0)
        try:
            _c_fsync(descriptor)
        finally:
            _c_close(descriptor)

    def chmod(path, mode):
        """Sets a file's mode."""
        _c_chmod(path, mode)

    def larger_heap():
        """kB of a heap of twice the size, where this one is full and the machine has eight times as much; else None."""
        gc.collect()
        used, free = gc.mem_alloc(), gc.mem_free()
        size = (used + free) // 512
        with open("/proc/meminfo") as file:
            memory = int(file.read(256).split()[1])  # MemTotal
        return size if free < used // 3 and 8 * size <= memory else None

    def begin_anew(argv, name, value):
        """Becomes another program, with a variable in its environment; all files are closed. Raises OSError."""
        words = [word.encode() + b"\0" for word in argv]
        vector = struct.pack("%dP" % (len(words) + 1), *([uctypes.addressof(word) for word in words] + [0]))
        _c_setenv(name, value, 1)
        for descriptor in range(3, 256):
            try:
                _c_close(descriptor)
            except OSError:
                pass  # there is none of this number
        _c_execv(argv[0], vector)

    def pace_collector():
        """Has garbage collected more seldom where there is much to look through each time."""
        gc.threshold(_GARBAGE + gc.mem_alloc() // 16)

    def release_code():
        """Gives back the pages of program code that only the start needed: they count when memory runs out.

        What is needed again comes back from the page cache (madvise(2), MADV_DONTNEED).
        """
        with open("/proc/self/maps") as maps:
            areas = [line.split() for line in maps]
        for words in areas:
            if words[1] == "r-xp" and words[-1].startswith("/"):
                start, end = [int(word, 16) for word in words[0].split("-")]
                try:
                    _c_madvise(start, end - start, 4)
                except OSError:
                    pass  # then they stay

    def set_mtime(path, seconds):
        """Sets a file's access and modification time to a number of seconds since 1970."""
        _c_utimes(path, struct.pack("llll", seconds, 0, seconds, 0))

    def umask(mask):
        """Sets the mask of modes that files are created without."""
        _c_umask(mask)

    def kill(pid, number):
        """Sends a signal to a process."""
        _c_kill(pid, number)

    def getpid():
        """This process's id."""
        return _c_getpid()

    def cloexec(sock):
        """Keeps a socket from being inherited by the processes started here."""
        _c_fcntl(sock.fileno(), 2, 1)

    def unix_address(path):
        """What connect() takes for a Unix socket's path."""
        return struct.pack("H", socket.AF_UNIX) + path.encode() + b"\0"

    def tls_context(ca, cert=None, key=None):
        """A client context that verifies the server against `ca`; all three are PEM file names."""
        context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(_slurp(ca))
        if cert:
            context.load_cert_chain(_slurp(cert), _slurp(key))
        return context

    def tls_wrap(context, sock, host):
        """A TLS client socket on a connected, non-blocking socket; the handshake comes with the first write."""
        try:
            return context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        except ValueError as error:
            raise OSError(errno.EINVAL, str(error))

    def _slurp(path):
        with open(path, "rb") as file:
            return file.read()

    def inet_address(ip, port):
        """What connect() and sendto() take for an IPv4 or IPv6 address; OSError where it is none."""
        if ":" in ip:
            return struct.pack("H", socket.AF_INET6) + struct.pack(
                ">HI16sI", port, 0, socket.inet_pton(socket.AF_INET6, ip), 0
            )
        return struct.pack("H", socket.AF_INET) + struct.pack(">H4s8s", port, socket.inet_pton(socket.AF_INET, ip), b"")

    async def resolve(host, port):
        """Socket addresses of a host name, IPv4 and IPv6, in the resolver's order. Raises OSError.

        getaddrinfo blocks the whole loop, so a name is looked up by a child process; an address is put
        together here, for asking costs 200 kB of resident memory.
        """
        try:
            return [inet_address(host, port)]
        except OSError:
            pass  # a name
        script = "import socket;[print(i[-1].hex()) for i in socket.getaddrinfo(%r,%d,0,1)]" % (host, port)
        status, output = await run(["/proc/self/exe", "-c", script], 10)
        if status:
            raise OSError(errno.ENOENT, "cannot resolve %s" % host)
        # Behind the last end of a line there is nothing, or what there was room for of one more.
        return [bytes.fromhex(line) for line in output.decode().split("\n")[:-1]]

    def address_family(address):
        """The address family of a socket address."""
        return struct.unpack_from("H", address)[0]

    def address_text(address):
        """The IPv4 or IPv6 address in a socket address, as text."""
        family = address_family(address)
        return socket.inet_ntop(family, address[8:24] if family == socket.AF_INET6 else address[4:8])

    def _sigset(numbers):
        word = 0
        for number in numbers:
            word |= 1 << (number - 1)
        return struct.pack("L", word) + bytes(128 - struct.calcsize("L"))

    def _set_signal_mask(mask):
        # SIG_SETMASK is 3 on MIPS, where 2 unblocks, and 2 elsewhere, where there is no 3.
        try:
            _c_sigprocmask(3, mask, None)
        except OSError:
            _c_sigprocmask(2, mask, None)

    class Signals:
        """Takes signals out of the default handling and hands them out one by one."""

        def __init__(self, *numbers):
            mask = _sigset(numbers)
            _set_signal_mask(mask)
            self._descriptor = _c_signalfd(-1, mask, _O_CLOEXEC)

        async def next(self):
            """Waits for the next signal; its number."""
            await readable(self._descriptor)
            buffer = bytearray(128)
            _c_read(self._descriptor, buffer, 128)
            return struct.unpack_from("I", buffer)[0]

    async def run(argv, timeout, most=_OUTPUT):
        """Runs a program (no shell) with no input; its exit status and the start of its output.

        The output is stdout and stderr together, `most` bytes of it.
        `timeout` in seconds; then the program is killed and OSError ETIMEDOUT raised. A program that
        cannot be started raises OSError. A program that a signal ended has status 128 + signal.
        """
        words = [word.encode() + b"\0" for word in argv]
        vector = struct.pack("%dP" % (len(words) + 1), *([uctypes.addressof(word) for word in words] + [0]))
        ends = bytearray(8)
        _c_pipe2(ends, _O_CLOEXEC)
        reader, writer = struct.unpack("ii", ends)
        null = _c_open("/dev/null", _O_CLOEXEC, 0)
        actions = bytearray(256)
        attributes = bytearray(512)
        identity = bytearray(4)
        everything = b"\xff" * 128
        _c_actions_init(actions)
        _c_attr_init(attributes)
        try:
            for source, target in ((null, 0), (writer, 1), (writer, 2)):
                _c_actions_dup2(actions, source, target)
            # The child starts with no signal blocked and none ignored: 4 | 8, SETSIGDEF | SETSIGMASK.
            _c_attr_flags(attributes, 12)
            _c_attr_mask(attributes, bytes(128))
            _c_attr_default(attributes, everything)
            failure = _c_spawn(identity, argv[0], actions, attributes, vector, _c_environ.get())
        finally:
            _c_actions_destroy(actions)
            _c_close(writer)
            _c_close(null)
        if failure:
            _c_close(reader)
            raise OSError(failure, "cannot run %s: %s" % (argv[0], reason(OSError(failure))))
        return await _collect(struct.unpack("i", identity)[0], reader, timeout, most)

    async def _collect(pid, reader, timeout, most):
        deadline = monotonic() + timeout
        # One buffer: thousands of small pieces, kept while the heap turns over, would leave no hole in it.
        output = bytearray(most)
        view = memoryview(output)
        scrap = bytearray(256)
        length = 0
        status = bytearray(4)
        reaped = 0
        try:
            while True:
                await asyncio.wait_for(readable(reader), max(0, deadline - monotonic()))
                room = most - length
                count = _c_read(reader, view[length:] if room else scrap, room or 256)
                if count <= 0:
                    break
                length = min(most, length + count)
            while not reaped:
                reaped = _c_waitpid(pid, status, 1)
                if not reaped:
                    if monotonic() > deadline:
                        raise asyncio.TimeoutError
                    await asyncio.sleep_ms(2)
        except asyncio.TimeoutError:
            raise OSError(errno.ETIMEDOUT, "no end after %s s" % timeout)
        finally:
            _c_close(reader)
            if not reaped:
                _c_kill(pid, SIGKILL)
                _c_waitpid(pid, status, 0)
        word = struct.unpack("i", status)[0]
        return (word >> 8 & 255) if word & 127 == 0 else 128 + (word & 127), bytes(view[:length])

else:
    RUNTIME = "python3"

    def print_exception(error):
        """Prints an exception with its traceback."""
        sys.excepthook(type(error), error, error.__traceback__)

    def flush():
        """Writes out what was printed. Raises OSError; what could not be written is forgotten then."""
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or it would be tried again at the end
            raise

    monotonic = time.monotonic

    def ticks_us():
        """Microseconds on a clock of which only differences of some seconds mean something."""
        return time.perf_counter_ns() // 1000

    def ticks_diff(later, earlier):
        """Microseconds from one ticks_us() to a later one."""
        return later - earlier

    chmod = os.chmod
    kill = os.kill
    getpid = os.getpid
    umask = os.umask

    async def _wait(add, remove, file):
        descriptor = file if isinstance(file, int) else file.fileno()
        ready = asyncio.get_running_loop().create_future()
        add(descriptor, lambda: ready.done() or ready.set_result(None))
        try:
            await ready
        finally:
            remove(descriptor)

    async def readable(file):
        """Waits until a socket or file descriptor can be read (or is at its end, or broken)."""
        loop = asyncio.get_running_loop()
        await _wait(loop.add_reader, loop.remove_reader, file)

    async def writable(file):
        """Waits until a socket or file descriptor can be written."""
        loop = asyncio.get_running_loop()
        await _wait(loop.add_writer, loop.remove_writer, file)

    def fsync(path):
        """Flushes a file or a folder to its disk."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def larger_heap():
        """None: CPython's heap grows by itself."""

    def pace_collector():
        """Nothing here: CPython counts references."""

    def release_code():
        """Nothing here: CPython's code is little of what it takes."""

    def set_mtime(path, seconds):
        """Sets a file's access and modification time to a number of seconds since 1970."""
        os.utime(path, (seconds, seconds))

    def cloexec(sock):
        """Keeps a socket from being inherited by the processes started here."""
        sock.set_inheritable(False)

    def unix_address(path):
        """What connect() takes for a Unix socket's path."""
        return path

    def tls_context(ca, cert=None, key=None):
        """A client context that verifies the server against `ca`; all three are PEM file names."""
        context = tls.create_default_context(cafile=ca)
        # CPython 3.13 is strict: it refuses authorities without a key usage, as `openssl req -x509` makes them.
        context.verify_flags &= ~tls.VERIFY_X509_STRICT
        if cert:
            context.load_cert_chain(cert, key)
        return context

    def tls_wrap(context, sock, host):
        """A TLS client socket on a connected, non-blocking socket; the handshake comes with the first write."""
        return context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)

    def inet_address(ip, port):
        """What connect() and sendto() take for an IPv4 or IPv6 address; OSError where it is none."""
        return ip, port

    async def resolve(host, port):
        """Socket addresses of a host name, IPv4 and IPv6, in the resolver's order. Raises OSError."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [item[-1] for item in found]

    def address_family(address):
        """The address family of a socket address."""
        return socket.AF_INET6 if len(address) == 4 else socket.AF_INET

    def address_text(address):
        """The IPv4 or IPv6 address in a socket address, as text."""
        return address[0].partition("%")[0]

    class Signals:
        """Takes signals out of the default handling and hands them out one by one."""

        def __init__(self, *numbers):
            self._queue = asyncio.Queue()
            for number in numbers:
                asyncio.get_running_loop().add_signal_handler(signal.Signals(number), self._queue.put_nowait, number)

        async def next(self):
            """Waits for the next signal; its number."""
            return await self._queue.get()

    async def run(argv, timeout, most=_OUTPUT):
        """Runs a program (no shell) with no input; its exit status and the start of its output.

        The output is stdout and stderr together, `most` bytes of it.
        `timeout` in seconds; then the program is killed and OSError ETIMEDOUT raised. A program that
        cannot be started raises OSError. A program that a signal ended has status 128 + signal.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        except OSError as error:
            raise OSError(error.errno, "cannot run %s: %s" % (argv[0], os.strerror(error.errno))) from None
        try:
            output, _ = await asyncio.wait_for(process.communicate(), timeout)
        except asyncio.TimeoutError:
            raise OSError(errno.ETIMEDOUT, "no end after %s s" % timeout) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        status = process.returncode
        return status if status >= 0 else 128 - status, output[:most]
