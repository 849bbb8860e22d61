#!/usr/bin/env python3
"""Makes the survival grid: what the echo servers that people learn from survive.

    make.py                  checks all servers that this machine can run; writes ../SURVIVAL.md and ../survival.html
    make.py --only NAME,...  checks these servers only; a name is that of a tool, or of a server in the list
    make.py --list           lists the servers, and what each of them needs
    make.py --check          checks that mio-echo passes what expected.json names, and that `mio-echo check` can check
                             the other servers; writes nothing; ends with 1 if mio-echo fails a must or a should

A server takes from 20 seconds to three minutes. The servers are in servers/, and each names its source.
Programs are built in target/survival.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SERVERS = pathlib.Path("docs/survival/servers")


@dataclass
class Server:
    """A server of the grid."""

    name: str
    """Its name in the grid."""
    tool: str
    """The program that runs or builds it, which `--only` accepts too."""
    command: str
    """How it is started. `{build}` stands for the folder of the programs that this script builds."""
    source: str
    """What it is, and where it is described."""
    file: str = ""
    """Its source in servers/; empty if it is only a command."""
    build: str = ""
    """How it is built, if it must be."""
    is_debian: bool = True
    """Whether Debian's packages are all that it needs. `--check` leaves the others out."""


def python(name, file, source):
    return Server(name, "python3", f"python3 {SERVERS}/{file} {{address}}", source, file)


def node(name, file, source):
    return Server(name, "node", f"node {SERVERS}/{file} {{address}}", source, file)


OWN = Server("mio-echo", "mio-echo", "{mio_echo} serve {address}", "the server of this project")

ALL = [
    OWN,
    python("page echo", "realpython_echo.py", "Real Python, *Socket Programming in Python (Guide)*, the first server"),
    python("page multi", "realpython_multi.py", "the same guide, the multi-connection server with a selector"),
    python("socketserver", "socketserver_threading.py", "Python, *socketserver*, a thread for each client"),
    python("asyncio streams", "asyncio_streams.py", "Python, *asyncio*, the echo server using streams"),
    python("asyncio protocol", "asyncio_protocol.py", "Python, *asyncio*, the echo server with a protocol"),
    node("Node docs", "node_docs.js", "Node.js, *Net*, the example of net.createServer"),
    node("Node pipe", "node_pipe.js", "socket.pipe(socket) with an error handler"),
    Server(
        "Go io.Copy",
        "go",
        "{build}/go_copy {address}",
        "Go, *package net*, the example of Listener",
        "go_copy.go",
        f"go build -o {{build}}/go_copy {SERVERS}/go_copy.go",
    ),
    Server(
        "libuv",
        "gcc",
        "{build}/libuv_echo {address}",
        "libuv, *User guide*, Networking",
        "libuv_echo.c",
        f"gcc -O2 -Wall -o {{build}}/libuv_echo {SERVERS}/libuv_echo.c -luv",
    ),
    Server(
        "tokio",
        "cargo",
        "{build}/tokio/release/tokio-echo {address}",
        "tokio, its example echo",
        "tokio-echo/src/main.rs",
        f"cargo build --quiet --release --locked --manifest-path {SERVERS}/tokio-echo/Cargo.toml "
        "--target-dir {build}/tokio",
        is_debian=False,
    ),
    Server(
        "socat PIPE",
        "socat",
        "socat TCP-LISTEN:{port},bind={host},reuseaddr,fork PIPE",
        "socat(1), the address PIPE, which returns what is written to it",
    ),
    Server(
        "ncat cat",
        "ncat",
        "ncat --listen {host} {port} --keep-open --exec /bin/cat",
        "Ncat Users' Guide, *Emulating Diagnostic Services*",
    ),
]

# Servers that people learn from, and that are not in the grid.
LEFT_OUT = [
    ("mio, its example tcp_server", "it greets each client and prints what it receives: it is no echo server"),
]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", metavar="NAME,...", help="only these servers, by their name or tool")
    arguments.add_argument("--list", action="store_true", help="list the servers")
    arguments.add_argument("--check", action="store_true", help="check mio-echo against expected.json; write nothing")
    arguments.add_argument("--mio-echo", metavar="FILE", default="target/release/mio-echo", help="the program")
    arguments.add_argument("--build", metavar="FOLDER", default="target/survival", help="where programs are built")
    arguments.add_argument("--output", metavar="FOLDER", default="docs", help="where the documents are written")
    options = arguments.parse_args()
    if options.list:
        for server in ALL:
            print(f"{server.name:<18} {server.tool:<10} {re.sub('[*]', '', server.source)}")
        return 0
    os.chdir(ROOT)
    # The tool starts the servers in this folder, so relative paths hold there too.
    if not shutil.which(options.mio_echo):
        sys.exit(f"{options.mio_echo} is not there: build it with cargo build --release, or name it with --mio-echo")
    pathlib.Path(options.build).mkdir(parents=True, exist_ok=True)
    wanted = chosen(options.only)
    if options.check:
        wanted = [server for server in wanted if server.is_debian]
    able, missing = prepare(wanted, options)
    if options.check:
        return check(able, missing, options)
    return write(able, missing, options)


def chosen(only):
    """Returns the servers that `--only` names; all without it."""
    if only is None:
        return ALL
    names = only.split(",")
    # `python` and `python3` are one tool.
    known = {name: server for server in ALL for name in (server.name, server.tool, server.tool.rstrip("3"))}
    for name in names:
        if name not in known:
            sys.exit(f"there is no server {name!r}: make.py --list shows all")
    return [server for server in ALL if {server.name, server.tool, server.tool.rstrip("3")} & set(names)]


def filled(text, options):
    """Fills in the folder of built programs, and the path of mio-echo. The address is filled in by the tool."""
    return text.replace("{build}", options.build).replace("{mio_echo}", options.mio_echo)


def prepare(servers, options):
    """Builds the servers. Returns those that answer, and the reasons why the others do not."""
    able, missing = [], []
    for server in servers:
        problem = built(server, options) or answers(server, options)
        if problem:
            print(f"{server.name}: left out: {problem}", file=sys.stderr)
            missing.append((server, problem))
        else:
            able.append(server)
    return able, missing


def built(server, options):
    """Builds a server. Returns the problem, if there is one."""
    if server is not OWN and not shutil.which(server.tool):
        return f"{server.tool} is not installed"
    if not server.build:
        return None
    done = subprocess.run(filled(server.build, options).split(), capture_output=True, text=True)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
    return f"it cannot be built: {lines[0]}"


def answers(server, options):
    """Starts a server and asks it for one echo. Returns the problem, if there is one: then the server is left out."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host, port = free.getsockname()
    command = filled(server.command, options).replace("{address}", f"{host}:{port}")
    command = command.replace("{host}", host).replace("{port}", str(port)).split()
    quiet = subprocess.DEVNULL
    # A session of its own, so that children of the server end with it.
    started = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        until = time.monotonic() + 10
        while time.monotonic() < until and started.poll() is None:
            try:
                with socket.create_connection((host, port), timeout=2) as client:
                    client.sendall(b"hello")
                    return None if client.recv(5) == b"hello" else "it does not return what it receives"
            except OSError:
                time.sleep(0.05)
        return "it does not start" if started.poll() is not None else "it does not listen within 10 s"
    finally:
        try:
            os.killpg(started.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        started.wait()


def run_checks(servers, options, *more):
    """Runs `mio-echo check` for all these servers. Returns the report."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder, "report.json")
        command = [options.mio_echo, "check", "--json", str(report), *more]
        for server in servers:
            command += ["--server", f"{server.name}={filled(server.command, options)}"]
        code = subprocess.run(command).returncode
        # 0: all passed; 3: a required check failed; 4: one is inconclusive. These are results.
        if code not in (0, 3, 4):
            sys.exit(f"mio-echo check ended with {code}")
        made = json.loads(report.read_text())
        left_out = {server.name for server in servers} - {server["name"] for server in made["servers"]}
        if left_out:
            sys.exit(f"mio-echo check did not reach {', '.join(sorted(left_out))}")
        return made


def check(servers, missing, options):
    """Compares mio-echo with expected.json, and has the other servers checked."""
    expected = json.loads((HERE / "expected.json").read_text())["mio-echo"]
    problems = [f"{server.name}: {problem}" for server, problem in missing if server is OWN]
    if OWN in servers:
        verdicts = {}
        idle = Server(OWN.name, OWN.tool, "{mio_echo} serve --idle-timeout 1s {address}", OWN.source)
        for server, more in [
            (OWN, ["--drains", "--except", "squatters"]),
            (idle, ["--idle", "1s", "--only", "squatters"]),
        ]:
            for made in run_checks([server], options, *more)["servers"][0]["checks"]:
                verdicts[made["name"]] = made
        problems += compared(expected, verdicts)
    others = [server for server in servers if server is not OWN]
    if others:
        # Whether they pass is not the question here, and these groups take only seconds.
        for server in run_checks(others, options, "--only", "echo,ends,resets")["servers"]:
            if server["interrupted"] or not server["checks"]:
                problems.append(f"{server['name']}: its checks are not complete")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(servers)} servers checked, {len(missing)} left out, {len(problems)} problems")
    return 1 if problems else 0


def compared(expected, verdicts):
    """Compares the verdicts on mio-echo with the names of the checks that it passes. Returns the problems."""
    problems = []
    for name in expected:
        if name not in verdicts:
            problems.append(f"expected.json names {name}, and there is no such check")
    for name, made in verdicts.items():
        if made["level"] == "note":
            continue
        remark = (made["remark"] or {}).get("en", "")
        if made["verdict"] == "fail":
            problems.append(f"mio-echo fails {name} ({made['level']}): {remark}")
        elif name in expected and made["verdict"] != "pass":
            # The machine could not decide it: that is no fault of mio-echo.
            print(f"not decided: {name}: {remark}", file=sys.stderr)
        elif name not in expected and made["verdict"] == "pass":
            print(f"mio-echo passes {name}, which expected.json does not name", file=sys.stderr)
    return problems


def write(servers, missing, options):
    """Runs the checks, and writes the document and the page."""
    if not servers:
        sys.exit("no server can be checked")
    output = pathlib.Path(options.output)
    with tempfile.TemporaryDirectory() as folder:
        # Written elsewhere first: an interrupted run has a report too, and it must not replace a whole one.
        markdown, page = pathlib.Path(folder, "grid.md"), pathlib.Path(folder, "grid.html")
        run_checks(servers, options, "--markdown", str(markdown), "--html", str(page))
        text = document(markdown.read_text(), servers, missing, options)
        (output / "survival.html").write_text(page.read_text())
    (output / "SURVIVAL.md").write_text(text)
    print(f"written: SURVIVAL.md and survival.html in {output}")
    return 0


def document(grid, servers, missing, options):
    """Returns docs/SURVIVAL.md around the grid that the tool has written."""
    # The tool's own heading gives way to that of the document, and its other headings go one level down.
    grid = re.sub(r"^# .*\n+", "", grid)
    grid = re.sub(r"^#", "##", grid, flags=re.MULTILINE)
    grid, found = re.split(r"^(?=### 1\. )", grid, maxsplit=1, flags=re.MULTILINE)
    rows = []
    for server in servers:
        where = f"[{server.file}](survival/servers/{server.file})" if server.file else f"`{server.command}`"
        if server is OWN:
            where = "`mio-echo serve {address}`"
        rows.append(f"| {server.name} | {server.source} | {where} | {version(server, options)} |")
    left_out = [f"| {server.name} ({server.source}) | {escaped(why)} |" for server, why in missing]
    left_out += [f"| {name} | {why} |" for name, why in LEFT_OUT]
    table = "\n".join(rows)
    reasons = "\n".join(left_out)
    return f"""# What echo servers survive

For readers who want to know what the echo servers of tutorials and manuals do when a client resets its connection, does
not read, or comes with a thousand others. `mio-echo check` starts each server anew for each check. The examples were
not written for such clients, and the table does not judge their authors. [CHECKS.md](CHECKS.md) describes the
checks, and [survival.html](survival.html) has this grid as a page.

- [The servers](#the-servers)
- [The grid](#the-grid)
- [What was found](#what-was-found)
- [What is missing](#what-is-missing)
- [How to make it again](#how-to-make-it-again)

## The servers

Each server with a file is written anew from the description in its source, and takes its address as an argument.
Nothing else is changed, except where its file says so.

| server | source | file or command | version |
|---|---|---|---|
{table}

## The grid

{grid.strip()}

## What was found

{found.strip()}

## What is missing

| server | why |
|---|---|
{reasons}

## How to make it again

```sh
cargo build --release
docs/survival/make.py                           # all servers that this machine can run: half an hour
docs/survival/make.py --only mio-echo,socat     # some of them
```

The script leaves out servers whose tools are not installed. On Debian the tools are in the packages python3, nodejs,
golang, gcc, libuv1-dev, socat and ncat. Cargo builds the server on tokio. A verdict can differ on another machine or
with another version of a program: figures of time and memory are those of one run.
"""


def version(server, options):
    """Returns the version of the program that runs or builds a server."""
    if server is OWN:
        return said([options.mio_echo, "--version"])
    if server.tool == "gcc":
        return f"libuv {said(['pkg-config', '--modversion', 'libuv'])}, gcc {said(['gcc', '-dumpfullversion'])}"
    if server.tool == "cargo":
        lock = (HERE / "servers/tokio-echo/Cargo.lock").read_text()
        found = re.search(r'name = "tokio"\nversion = "([^"]*)"', lock)
        return f"tokio {found[1] if found else '?'}, {said(['rustc', '--version']).split(' (')[0]}"
    if server.tool in ("socat", "ncat"):
        found = re.search(r"[Vv]ersion (\S+)", said([server.tool, "-V" if server.tool == "socat" else "--version"], 2))
        return f"{server.tool} {found[1] if found else '?'}"
    if server.tool == "go":
        return said(["go", "version"]).removeprefix("go version ")
    if server.tool == "node":
        return f"Node.js {said(['node', '--version'])}"
    return said([server.tool, "--version"])


def said(command, lines=1):
    """Returns the first lines of the output of a command, as one line."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return " ".join(done.stdout.split("\n")[:lines]).strip()


def escaped(text):
    """Escapes what Markdown would take for markup in a table."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)


if __name__ == "__main__":
    sys.exit(main())
