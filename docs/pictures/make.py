#!/usr/bin/env python3
"""Makes the pictures of the documents.

    make.py              writes turn.svg, states.svg, byte.svg and ladder.svg beside this file
    make.py --check      ends with 1 if one of them is not what it would write
    make.py --screenshot runs `mio-echo bench` (target/release) at a rate, and writes the page of its report as
                         ../bench.png; needs Chromium

The pictures of the benches (../peers.svg, ../growth.svg) are made by `cargo bench --bench peers`.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
from xml.sax.saxutils import escape

HERE = pathlib.Path(__file__).resolve().parent

# One set of colours for a light page and one for a dark page: the browser chooses.
STYLE = """
svg { font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 14px; }
.page { fill: #ffffff; } text { fill: #1f2328; } .small { font-size: 12px; fill: #59636e; } .title { font-weight: 600; }
.box { fill: #f2f5f9; stroke: #8c96a1; } .main { fill: #dcebfb; stroke: #2f6fb3; }
.end { fill: #fbe6e2; stroke: #b0483a; }
.area { fill: none; stroke: #8c96a1; stroke-dasharray: 5 4; } .arrow { fill: none; stroke: #59636e; stroke-width: 1.5; }
.head { fill: #59636e; }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117; } text { fill: #e6edf3; } .small { fill: #9aa4af; }
.box { fill: #1c232c; stroke: #6e7681; } .main { fill: #12304f; stroke: #58a6ff; }
.end { fill: #4a1f1a; stroke: #f0836f; }
.area { stroke: #6e7681; } .arrow { stroke: #9aa4af; } .head { fill: #9aa4af; }
}
"""


def picture(width, height, title, description, *parts, top=0):
    """A whole SVG file, from the line `top` on. A screen reader reads the title and the description."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {top} {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-labelledby="title description">\n'
        f'<title id="title">{escape(title)}</title>\n<desc id="description">{escape(description)}</desc>\n'
        f"<style>{STYLE}</style>\n"
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
        'orient="auto-start-reverse"><path class="head" d="M0 0 10 5 0 10z"/></marker></defs>\n'
        f'<rect class="page" y="{top}" width="{width}" height="{height}"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def text(x, y, line, kind="", anchor="start"):
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(line)}</text>'


def box(x, y, width, height, title, *lines, kind="box"):
    """A rectangle with a title and smaller lines under it, all centred."""
    middle = x + width / 2
    top = y + height / 2 - 8.5 * len(lines) + 5
    rows = [text(middle, top, title, "title", "middle")]
    rows += [text(middle, top + 17 * n, line, "small", "middle") for n, line in enumerate(lines, 1)]
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>' + "".join(rows)


def arrow(*points):
    """A line through these points, with its head at the last one."""
    path = "M" + " ".join(f"{x} {y}" for x, y in points)
    return f'<path class="arrow" d="{path}" marker-end="url(#head)"/>'


def labels(x, y, *lines, anchor="start"):
    return "".join(text(x, y + 15 * n, line, "small", anchor) for n, line in enumerate(lines))


def turn():
    """One turn of the loop: src/server/event_loop.rs, `EventLoop::turn`."""
    steps = [
        (
            "1  Poll",
            ["wait for events until the first timer is due;", "do not wait while the run queue holds a key"],
            "poller.rs",
        ),
        ("2  Read the clock", ["once; every later step gets this time"], "event_loop.rs"),
        ("3  Handle commands", ["signals, and what other threads ask for;", "SIGTERM starts the drain"], "control.rs"),
        (
            "4  Dispatch each event",
            ["listener: accept, up to the quota;", "connection: pump, up to 256 KiB"],
            "acceptor.rs, connection.rs",
        ),
        (
            "5  Run the run queue",
            ["listeners and connections that used up", "their share of an earlier turn"],
            "run_queue.rs",
        ),
        (
            "6  Handle timers",
            ["an expired timer tries its connection once;", "the loop closes it only if nothing has moved"],
            "timeouts.rs, sweeps.rs",
        ),
    ]
    x, y, width, height, step = 60, 20, 330, 66, 84
    parts = []
    for n, (title, lines, source) in enumerate(steps):
        top = y + n * step
        kind = "main" if n in (0, 3) else "box"
        parts.append(box(x, top, width, height, title, *lines, kind=kind))
        parts.append(text(x + width + 14, top + 20, source, "small"))
        if n:
            parts.append(arrow((x + width / 2, top - step + height), (x + width / 2, top)))
    last = y + (len(steps) - 1) * step + height / 2
    parts.append(arrow((x, last), (26, last), (26, y + height / 2), (x, y + height / 2)))
    # What the connection answers to a pump.
    answers = [
        ("Blocked", ["nothing more can be done now:", "wait for the next event"], "box"),
        ("Yielded", ["the budget is used up:", "into the run queue"], "box"),
        ("Finished", ["end of stream, error or reset:", "deregister and close"], "end"),
    ]
    left, top = 600, y + 2 * step - 10
    parts.append(f'<rect class="area" x="{left - 14}" y="{top}" width="248" height="262" rx="8"/>')
    parts.append(text(left, top + 22, "The connection answers,", "title"))
    parts.append(text(left, top + 40, "the loop acts", "title"))
    for n, (title, lines, kind) in enumerate(answers):
        parts.append(box(left, top + 54 + n * 68, 220, 60, title, *lines, kind=kind))
    middle = y + 3 * step + height / 2
    parts.append(arrow((x + width, middle + 10), (left - 14, middle + 10)))
    return picture(
        850,
        536,
        "One turn of the event loop",
        "Six steps in order: poll, read the clock, handle commands, dispatch each event, run the run queue, handle "
        "timers. "
        "A pumped connection answers Blocked, Yielded or Finished, and the loop acts on the answer.",
        *parts,
    )


def states():
    """The states of a connection: src/server/connection.rs, `State`."""
    parts = [
        box(40, 120, 200, 66, "Echoing", "what is read is written back", kind="main"),
        box(40, 330, 200, 66, "Splicing", "bulk goes through the pipe"),
        box(400, 120, 200, 66, "FinalEcho", "shutdown: only what had", "arrived is still echoed"),
        box(400, 330, 200, 66, "Delivering", "both streams have ended; the", "kernel still holds echo"),
        box(760, 120, 200, 66, "Lingering", "our stream has ended; later", "input is discarded"),
        box(760, 330, 200, 66, "closed", "removed from the table", kind="end"),
        arrow((140, 62), (140, 120)),
        labels(150, 86, "accepted and registered"),
        # Between the two ways to echo.
        arrow((90, 186), (90, 330)),
        arrow((190, 330), (190, 186)),
        labels(98, 206, "bulk, and the", "peer keeps up"),
        labels(182, 290, "queue empty,", "or the peer", "falls behind", anchor="end"),
        # Shutdown.
        arrow((240, 140), (400, 140)),
        labels(320, 132, "shutdown", anchor="middle"),
        arrow((600, 153), (760, 153)),
        labels(680, 130, "all of it is written:", anchor="middle"),
        labels(680, 145, "shutdown(SHUT_WR)", anchor="middle"),
        # The peer's end of stream.
        arrow((240, 176), (340, 176), (340, 345), (400, 345)),
        arrow((240, 363), (400, 363)),
        labels(250, 383, "end of stream; echo", "not acknowledged yet:", "shutdown(SHUT_WR)"),
        arrow((500, 186), (500, 330)),
        labels(508, 250, "end of stream; echo", "not acknowledged yet"),
        # The ends.
        arrow((600, 363), (760, 363)),
        labels(680, 355, "acknowledged", anchor="middle"),
        arrow((860, 186), (860, 330)),
        labels(868, 215, "peer's end of", "stream; or silent", "for 1 s with all", "acknowledged; or", "drain timeout"),
        arrow((140, 396), (140, 450), (860, 450), (860, 396)),
        labels(500, 442, "end of stream, and the peer's kernel has acknowledged the whole echo", anchor="middle"),
        labels(
            500,
            468,
            "From every state to closed: an error or a reset from a call; the idle timeout; the stall timeout; "
            "the drain timeout.",
            anchor="middle",
        ),
        labels(
            500,
            486,
            "A shutdown takes Splicing to FinalEcho too, and an end of stream takes Echoing to closed too.",
            anchor="middle",
        ),
    ]
    return picture(
        1000,
        450,
        "The states of a connection",
        "A connection is accepted into Echoing. Bulk takes it to Splicing and back. A shutdown takes it to FinalEcho "
        "and then to Lingering. The peer's end of stream takes it to Delivering until everything is acknowledged. "
        "Each ends in closed.",
        *parts,
        top=50,
    )


def byte():
    """The path of a byte through kernel and process."""
    parts = [
        f'<rect class="area" x="200" y="20" width="290" height="400" rx="8"/>',
        text(214, 42, "kernel of the server's host", "small"),
        f'<rect class="area" x="570" y="20" width="300" height="400" rx="8"/>',
        text(584, 42, "process: one thread", "small"),
        box(30, 90, 130, 60, "client", "sends", kind="box"),
        box(30, 300, 130, 60, "client", "receives", kind="box"),
        box(225, 90, 240, 60, "receive queue", "holds what is not read yet"),
        box(225, 300, 240, 60, "send queue", "holds what is not acknowledged"),
        box(595, 150, 250, 60, "read buffer", "64 KiB, one for all connections", kind="main"),
        box(
            595,
            300,
            250,
            76,
            "pending write",
            "what the kernel did not accept;",
            "at most one read; while it is there,",
            "this connection is not read",
            kind="main",
        ),
        box(225, 195, 240, 60, "pipe", "bulk: splice(2), without a copy"),
        arrow((160, 120), (225, 120)),
        arrow((225, 330), (160, 330)),
        arrow((465, 110), (720, 110), (720, 150)),
        labels(584, 102, "1  read, into an empty buffer"),
        arrow((620, 210), (620, 250), (530, 250), (530, 315), (465, 315)),
        labels(630, 240, "2  write"),
        arrow((770, 210), (770, 300)),
        labels(778, 262, "3  the rest"),
        arrow((595, 345), (465, 345)),
        labels(530, 364, "4  write,", "when there", "is room", anchor="middle"),
        arrow((345, 150), (345, 195)),
        arrow((345, 255), (345, 300)),
    ]
    return picture(
        890,
        440,
        "The path of a byte",
        "A byte comes from the client into the kernel's receive queue, is read into the loop's one read buffer and "
        "written to the kernel's send queue. What the kernel does not accept becomes the connection's pending write. "
        "Bulk goes through a pipe in the kernel instead.",
        *parts,
    )


def ladder():
    """Which checks each step of the ladder fails: examples/grid.toml."""
    root = HERE.parent.parent
    grid = tomllib.loads((root / "examples/grid.toml").read_text(encoding="utf-8"))
    fails, either = grid["fails"], grid["either"]
    steps = sorted(fails)
    files = {step: next((root / "examples").glob(f"{step}_*")) for step in steps}
    breaks_on = {
        step: re.search(r"Breaks on: `([\w-]+)`", file.read_text(encoding="utf-8"))[1] for step, file in files.items()
    }
    document = (root / "docs/CHECKS.md").read_text(encoding="utf-8")
    levels = dict(re.findall(r"^\| `([\w-]+)` \| (must|should|note)", document, re.MULTILINE))
    # A check of level should is tried from the step on that breaks on it; one of level must on each step.
    first = {check: step for step, check in breaks_on.items() if levels[check] != "must"}
    names = list(dict.fromkeys([breaks_on[step] for step in steps if step != "02"]))
    names += [name for name in levels if name not in names and any(name in fails[s] + either.get(s, []) for s in steps)]
    left, top, width, height = 190, 64, 50, 22
    parts = [text(20, 28, "Which checks each step fails", "title")]
    for n, step in enumerate(steps):
        parts.append(text(left + width * n + width / 2, top - 10, step, "title", "middle"))
    for row, name in enumerate(names):
        y = top + height * row
        parts.append(text(left - 12, y + 15, name, "small", "end"))
        for n, step in enumerate(steps):
            x = left + width * n
            if name in first and step < first[name] and name not in fails[step]:
                continue
            kind, sign = ("main", "✓")
            if name in fails[step]:
                kind, sign = ("end", "✗")
            elif name in either.get(step, []):
                kind, sign = ("box", "✓ ✗")
            corner, size = f'x="{x + 2}" y="{y + 1}"', f'width="{width - 4}" height="{height - 2}"'
            parts.append(f'<rect class="{kind}" {corner} {size} rx="3"/>')
            parts.append(text(x + width / 2, y + 15, sign, "small", "middle"))
    bottom = top + height * len(names)
    parts.append(
        labels(
            20,
            bottom + 26,
            "✓ passes, ✗ fails, ✓ ✗ by chance, empty: not tried. All other musts pass on every step.",
            "Step 02 breaks on no check: it costs memory.",
        )
    )
    return picture(
        left + width * len(steps) + 20,
        bottom + 60,
        "The ladder: which checks each step fails",
        "A table of the thirteen steps, and of the checks that at least one of them fails.",
        *parts,
    )


PICTURES = {"turn.svg": turn, "states.svg": states, "byte.svg": byte, "ladder.svg": ladder}


def screenshot():
    root = HERE.parent.parent
    program = root / "target" / "release" / "mio-echo"
    with tempfile.TemporaryDirectory() as folder:
        page = pathlib.Path(folder) / "report.html"
        server = subprocess.Popen([program, "serve", "-q"], stdout=subprocess.PIPE, text=True)
        try:
            address = server.stdout.readline().split()[-1]
            subprocess.run([program, "bench", address, "-r", "20k", "--html", page], stdout=subprocess.DEVNULL)
        finally:
            server.terminate()
            server.wait()
        subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                f"--user-data-dir={folder}/profile",
                "--window-size=1200,1330",
                f"--screenshot={HERE.parent / 'bench.png'}",
                page.as_uri(),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )


def main(arguments):
    if arguments == ["--screenshot"]:
        screenshot()
        return 0
    if arguments not in ([], ["--check"]):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    wrong = []
    for name, draw in PICTURES.items():
        path = HERE / name
        drawn = draw()
        if not arguments:
            path.write_text(drawn, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != drawn:
            wrong.append(name)
    if wrong:
        print(f"not what make.py draws: {', '.join(wrong)} (run docs/pictures/make.py)", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
