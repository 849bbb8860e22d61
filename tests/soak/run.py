#!/usr/bin/env python3
"""Runs the server for an hour under mixed load, and checks that its memory and its descriptors do not grow.

    cargo build --release
    tests/soak/run.py                    runs for an hour
    tests/soak/run.py --duration 3m      runs for three minutes

Load generators run against one server, with many message sizes, pipelines and numbers of connections. Their rates are
limited. Some are killed, stopped for a while or interrupted during their run. Other clients send but read nothing, and
then close, half-close or reset. Every byte that a load generator receives is verified.

Once a minute, all clients end. Within ten seconds after that, the server must have as many descriptors as at the start,
and about as much memory.

The program prints a line for each of these pauses and a summary at the end. Its exit code is 1 if a byte was wrong, if
memory or descriptors have grown, or if the server has ended, has failed or has logged a panic. It needs only Linux and
Python 3.9. It is not a part of the gate.
"""

import argparse
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Exit codes of `mio-echo bench`.
WRONG_ECHO = 3
# The generator was delayed, for example by the other loads of this program. Its echoes are verified anyway.
INVALID = 4

# The memory that the server may use in addition to that at the start, while no client is connected.
SLACK_KIB = 1024


class Server:
    def __init__(self, program, arguments):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [program, "serve", "127.0.0.1:auto", "--json", *arguments],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit(f"the server did not start: its first line is {line!r}")
        self.address = line.split()[-1]
        self.port = int(self.address.rsplit(":", 1)[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory(self):
        """Returns its anonymous resident memory in KiB (proc(5), RssAnon). The program file does not count."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", status)[1])

    def processor_time(self):
        """Returns its processor time in seconds (proc(5), schedstat)."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9

    def is_running(self):
        return self.process.poll() is None

    def stop(self):
        """Stops the server. Returns its statistics and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=30)
        return json.loads(output), self.process.returncode

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")


class Load:
    """One load generator, and the action on it during its run: none, a kill, a stop or an interrupt."""

    def __init__(self, program, address, chance):
        self.arguments = plan(chance)
        seconds = chance.uniform(2, 6)
        self.action = chance.choice(["none"] * 5 + ["killed", "stopped", "interrupted"])
        self.act_at = time.monotonic() + chance.uniform(0.2, seconds)
        self.end_by = time.monotonic() + seconds + 30
        self.go_on_at = None
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [program, "bench", address, "-w", "100ms", "-d", f"{seconds:.1f}s", *self.arguments],
            stdout=self.output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )

    def step(self):
        """Does the action if its time has come. Returns True if the process has ended."""
        if self.process.poll() is not None:
            return True
        now = time.monotonic()
        if self.go_on_at is not None:
            if now >= self.go_on_at:
                self.process.send_signal(signal.SIGCONT)
                self.go_on_at = None
        elif now >= self.act_at and self.action != "none":
            if self.action == "stopped":
                self.process.send_signal(signal.SIGSTOP)
                self.go_on_at = now + 2
            else:
                is_killed = self.action == "killed"
                self.process.send_signal(signal.SIGKILL if is_killed else signal.SIGINT)
            self.act_at = float("inf")
        elif now >= self.end_by:
            self.process.kill()
        return False

    def end(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def said(self):
        self.output.seek(0)
        return self.output.read().decode(errors="replace")


def plan(chance):
    """Returns the options of one load generator. The rates are limited, so that the machine is not fully loaded."""
    size, most = chance.choice(
        [("1", 5000), ("64", 5000), ("1KiB", 3000), ("16KiB", 1000), ("64KiB", 400), ("1MiB", 40), ("4MiB", 8)]
    )
    connections = chance.choice([1, 8, 50, 300])
    arguments = ["-s", size, "-c", str(connections)]
    if chance.random() < 0.3:
        arguments += ["-P", str(chance.choice([4, 16]))]
    if chance.random() < 0.3:
        arguments += ["--reconnect", str(chance.choice([1, 10]))]
    if chance.random() < 0.2:
        arguments += ["--rcvbuf", "8KiB"]
    return [*arguments, "-r", str(most)]


class Silent:
    """Clients that send until the buffers are full, read nothing, and then close, half-close or reset."""

    def __init__(self, port, chance):
        self.clients = []
        for _ in range(chance.choice([1, 20, 200])):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            client.connect(("127.0.0.1", port))
            client.setblocking(False)
            self.clients.append(client)
        self.leaves_by = chance.choice(["close", "half-close", "reset"])
        self.until = time.monotonic() + chance.uniform(0.5, 3)
        chance.shuffle(self.clients)

    def step(self):
        for client in self.clients:
            try:
                client.send(b"z" * 65536)
            except OSError:
                pass
        if time.monotonic() < self.until:
            return False
        self.end()
        return True

    def end(self):
        for client in self.clients:
            try:
                if self.leaves_by == "half-close":
                    client.shutdown(socket.SHUT_WR)
                elif self.leaves_by == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
            client.close()


def seconds_of(text):
    number, unit = re.fullmatch(r"(\d+)(s|m|h)", text).groups()
    return int(number) * {"s": 1, "m": 60, "h": 3600}[unit]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duration", default="1h", help="a number with s, m or h, such as 90s, 3m or 1h [default: 1h]")
    parser.add_argument("--program", default=ROOT / "target/release/mio-echo", help="the mio-echo program to run")
    parser.add_argument("--seed", type=int, default=1, help="the seed of all random choices [default: 1]")
    parser.add_argument("server", nargs="*", help="options for `mio-echo serve`, after --")
    options = parser.parse_args()
    try:
        duration = seconds_of(options.duration)
    except AttributeError:
        parser.error(f"--duration {options.duration}: write a whole number with s, m or h, such as 3m")
    if not os.access(options.program, os.X_OK):
        parser.error(f"{options.program} is not a program: run cargo build --release, or use --program")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    server = Server(options.program, options.server)
    clients = []
    try:
        return soak(server, options, duration, clients)
    except KeyboardInterrupt:
        return 130
    finally:
        for client in clients:
            client.end()
        if server.is_running():
            server.process.kill()
            server.process.wait()


def soak(server, options, duration, clients):
    chance = random.Random(options.seed)
    # The first connection makes the server allocate memory once. This is not growth, so it happens before the start.
    with socket.create_connection(("127.0.0.1", server.port)) as first:
        first.sendall(b"!")
        first.recv(1)
    time.sleep(0.3)
    start_descriptors, start_memory = server.descriptors(), server.memory()
    print(
        f"{'minute':>6} {'loads':>6} {'wrong':>5} {'other':>5} {'fds':>4} {'memory KiB':>10} {'CPU s':>7}  wait"
    )
    print(f"{0:>6} {0:>6} {0:>5} {0:>5} {start_descriptors:>4} {start_memory:>10}", flush=True)
    loads = wrong = other = 0
    problems = []
    begin = time.monotonic()
    while time.monotonic() - begin < duration and not problems:
        clients_end = min(time.monotonic() + 50, begin + duration)
        while clients or time.monotonic() < clients_end:
            if not server.is_running():
                break
            if time.monotonic() < clients_end and len(clients) < 3:
                if chance.random() < 0.8:
                    clients.append(Load(options.program, server.address, chance))
                    loads += 1
                else:
                    clients.append(Silent(server.port, chance))
            for client in [client for client in clients if client.step()]:
                clients.remove(client)
                if isinstance(client, Load):
                    code = client.process.returncode
                    if code == WRONG_ECHO:
                        wrong += 1
                        print(f"wrong echo: {client.arguments}\n{client.said()}", flush=True)
                    elif code not in (0, INVALID) and client.action == "none":
                        other += 1
                        print(f"exit code {code}: {client.arguments}\n{client.said()}", flush=True)
            time.sleep(0.05)
        if not server.is_running():
            problems.append(f"the server has ended with {server.process.returncode}")
            break
        took = wait_until(server.descriptors, start_descriptors, 10)
        took = max(took, wait_until(server.memory, start_memory + SLACK_KIB, 10 - took))
        descriptors, memory = server.descriptors(), server.memory()
        minute = (time.monotonic() - begin) / 60
        print(
            f"{minute:>6.1f} {loads:>6} {wrong:>5} {other:>5} {descriptors:>4} {memory:>10}"
            f" {server.processor_time():>7.1f}  {took:.1f} s",
            flush=True,
        )
        if descriptors > start_descriptors:
            problems.append(f"the server has {descriptors} descriptors; at the start it had {start_descriptors}")
        if memory > start_memory + SLACK_KIB:
            problems.append(f"the server uses {memory} KiB; at the start it used {start_memory} KiB")
    if wrong:
        problems.append(f"{wrong} load generators received a wrong echo")
    if server.is_running():
        stats, code = server.stop()
        print(
            f"{stats['accepted']:,} connections, {stats['bytes_out']:,} bytes echoed,"
            f" at most {stats['peak_pending_bytes']:,} bytes pending; reasons of closes: {stats['closed']}"
        )
        if code != 0:
            problems.append(f"the server's exit code was {code}")
    if "panicked" in server.said():
        problems.append(f"the server panicked: {server.said()}")
    for problem in problems:
        print(f"FAILED: {problem}")
    if not problems:
        print("passed: memory and descriptors have not grown, and no byte was wrong")
    return 1 if problems else 0


def wait_until(read, at_most, limit):
    """Waits until `read()` is at most `at_most`, for `limit` seconds at the longest. Returns the time it took."""
    start = time.monotonic()
    while time.monotonic() - start < limit and read() > at_most:
        time.sleep(0.1)
    return time.monotonic() - start


if __name__ == "__main__":
    sys.exit(main())
