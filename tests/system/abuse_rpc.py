#!/usr/bin/python3
"""abuse_rpc.py SOCKET: clients of bare frames that misbehave; after each the same daemon must answer, and hold nothing for them."""
import os
import socket
import struct
import sys
import time

PATH = sys.argv[1]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers(path):
    """HPACK: static entries and literals that are never indexed."""
    def literal(name, value):
        return b"\x10" + bytes([len(name)]) + name + bytes([len(value)]) + value
    return b"\x83\x86\x11\x01x" + literal(b":path", path.encode()) + literal(b"content-type", b"application/grpc") + literal(b"te", b"trailers")


def dial():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(PATH)
    s.sendall(PREFACE + frame(SETTINGS, 0, 0))
    return s


def begin(s, stream, path, body=b"", end=True):
    s.sendall(frame(HEADERS, END_HEADERS, stream, headers(path)))
    while body or end:
        piece, body = body[:16384], body[16384:]
        last = end and not body
        s.sendall(frame(DATA, END_STREAM if last else 0, stream, piece))
        if not body:
            break


def message(body):
    return struct.pack(">BI", 0, len(body)) + body


def until_closed(s):
    """What the daemon says until it hangs up, or 20 seconds."""
    got = b""
    while True:
        try:
            piece = s.recv(65536)
        except ConnectionResetError:
            return got
        if not piece:
            return got
        got += piece


def frames(got):
    """[(kind, payload)]"""
    out = []
    while len(got) >= 9:
        n = int.from_bytes(got[:3], "big")
        out.append((got[3], got[9 : 9 + n]))
        got = got[9 + n :]
    return out


def end_of(s, stream):
    """(kind, payload) of the frame that ends this stream; None: the daemon hung up."""
    got = b""
    while True:
        while len(got) < 9 or len(got) < 9 + int.from_bytes(got[:3], "big"):
            piece = s.recv(65536)
            if not piece:
                return None
            got += piece
        n = int.from_bytes(got[:3], "big")
        kind, flags, sid = got[3], got[4], int.from_bytes(got[5:9], "big")
        payload, got = got[9 : 9 + n], got[9 + n :]
        if sid == stream and (kind == RST or (kind in (HEADERS, DATA) and flags & END_STREAM)):
            return kind, payload


def answer():
    """A whole call; the daemon's pid from its peer credentials."""
    s = dial()
    begin(s, 1, "/vmd.v1.DaemonService/GetDaemon", message(b""))
    assert (end_of(s, 1) or [None])[0] == HEADERS, "no trailers"
    pid = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    s.close()
    return pid


def memory_kib():
    for line in open(f"/proc/{PID}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])


def descriptors():
    return len(os.listdir(f"/proc/{PID}/fd"))


def ten_thousand_nested_messages():
    def varint(n):
        out = b""
        while n > 127:
            out += bytes([n & 127 | 128])
            n >>= 7
        return out + bytes([n])
    for number in 1, 4, 9, 15, 400:
        body = b""
        for _ in range(10000):
            body = varint(number << 3 | 2) + varint(len(body)) + body
        for path in "GuestService/CreateGuest", "GuestService/AttachGuest", "ImageService/ImportImage":
            s = dial()
            begin(s, 1, "/vmd.v1." + path, message(body))
            end_of(s, 1)
            s.close()
    groups = message(b"\x0b" * 10000 + b"\x0c" * 10000)
    for path in "/vmd.v1.GuestService/GetGuest", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":
        s = dial()
        begin(s, 1, path, groups)
        end_of(s, 1)
        s.close()


def a_gigabyte_is_refused_at_its_first_bytes():
    before = memory_kib()
    for path in "GuestService/CreateGuest", "ImageService/ImportImage", "GuestService/AttachGuest":
        s = dial()
        begin(s, 1, "/vmd.v1." + path, struct.pack(">BI", 0, 1 << 30) + b"x" * 10000, end=False)
        kind, payload = end_of(s, 1)
        assert kind == HEADERS, "no trailers"
        s.close()
    assert memory_kib() - before < 4096, memory_kib() - before


def requests_that_never_end_are_held_within_bounds():
    """128 streams, each with most of the largest request there is."""
    before = memory_kib()
    some = []
    for _ in range(4):
        s = dial()
        some.append(s)
        for i in range(120):
            try:
                begin(s, 2 * i + 1, "/vmd.v1.GuestService/CreateGuest", struct.pack(">BI", 0, 500000) + b"x" * 60000, end=False)
            except OSError:
                break
    time.sleep(0.3)
    grown = memory_kib() - before
    for s in some:
        s.close()
    assert grown < 4 * 5 * 1024 + 4096, f"{grown} KiB"


def many_who_write_a_byte_at_a_time_disturb_nobody():
    some = [dial() for _ in range(200)]
    head = frame(HEADERS, END_HEADERS, 1, headers("/vmd.v1.GuestService/GetGuest"))
    for i in range(len(head)):
        for s in some:
            s.sendall(head[i : i + 1])
        if i % 16 == 0:
            answer()
    for s in some:
        s.close()


def clients_that_vanish_leave_nothing():
    before = descriptors()
    name = b"\x0a\x06vanish"
    create = name + b"\x12\x04fake" + b"\x1a\x04spin"
    s = dial()
    begin(s, 1, "/vmd.v1.GuestService/CreateGuest", message(create))
    end_of(s, 1)
    begin(s, 3, "/vmd.v1.GuestService/StartGuest", message(name))
    end_of(s, 3)
    s.close()
    opened = message(b"\x0a" + bytes([len(name)]) + name)
    for round_ in range(3):
        some = []
        for i in range(100):
            s = dial()
            some.append(s)
            begin(s, 1, "/vmd.v1.GuestService/AttachGuest", opened, end=False)
            begin(s, 3, "/vmd.v1.GuestService/WaitGuest", message(name))
            begin(s, 5, "/grpc.health.v1.Health/Watch", message(b""))
        if round_ == 1:
            answer()
        for s in some:
            s.close()
    s = dial()
    begin(s, 1, "/vmd.v1.GuestService/DeleteGuest", message(name + b"\x10\x01"))
    end_of(s, 1)
    s.close()
    for _ in range(100):
        if descriptors() <= before + 1:
            return
        time.sleep(0.05)
    raise AssertionError(f"{descriptors()} descriptors, {before} before")


def rapid_resets_are_cut_off():
    s = dial()
    sent = 0
    try:
        while sent < 20000:
            out = b""
            for _ in range(50):
                stream = 2 * sent + 1
                out += frame(HEADERS, END_HEADERS, stream, headers("/vmd.v1.GuestService/WaitGuest"))
                out += frame(RST, 0, stream, struct.pack(">I", 8))
                sent += 1
            s.sendall(out)
    except OSError:
        pass
    assert sent < 20000, "nobody minded"
    goaways = [p for kind, p in frames(until_closed(s)) if kind == GOAWAY]
    assert goaways and goaways[-1][4:8] == b"\x00\x00\x00\x0b", f"no ENHANCE_YOUR_CALM: {goaways}"
    s.close()


def floods_of_pings_and_settings_are_cut_off():
    for one in frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0):
        s = dial()
        sent = 0
        try:
            while sent < 100000:
                s.sendall(one * 100)
                sent += 100
        except OSError:
            pass
        assert sent < 100000, "nobody minded"
        s.close()


PID = answer()
for test in (
    ten_thousand_nested_messages,
    a_gigabyte_is_refused_at_its_first_bytes,
    requests_that_never_end_are_held_within_bounds,
    many_who_write_a_byte_at_a_time_disturb_nobody,
    clients_that_vanish_leave_nothing,
    rapid_resets_are_cut_off,
    floods_of_pings_and_settings_are_cut_off,
):
    began = time.monotonic()
    try:
        test()
        assert answer() == PID, "another daemon answers"
    except Exception as e:  # noqa: whatever it was, it is what the test found
        print(f"FAIL {test.__name__}: {type(e).__name__}: {e}")
        sys.exit(1)
    print(f"ok {test.__name__} ({time.monotonic() - began:.1f} s)")
