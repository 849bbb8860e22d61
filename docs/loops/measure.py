#!/usr/bin/env python3
"""Measures what several loops and --metrics cost, and how evenly the kernel distributes connections over loops.

    cargo build --release
    docs/loops/measure.py                    about twenty minutes
    docs/loops/measure.py --pairs 3 --seconds 1

A pair is a run of each side, in alternating order, against a new server. The generator is `mio-echo bench` on the same
machine. The figures are the ratio of the second side to the first: of the rate, and of the server's processor time for
a message (all its threads, /proc/PID/task/*/schedstat, divided by its reads). Each is a median over the pairs, with its
quartiles. Needs Linux, Python 3.9 and target/release/mio-echo.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/release/mio-echo"


class Server:
    """A server with these options, which ends with the block."""

    def __init__(self, program, options):
        command = [program, "serve", "127.0.0.1:auto", "--json", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.address = self.process.stdout.readline().split()[-1]
        self.site = self.process.stdout.readline().split()[-1] if "--metrics" in options else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def cpu_ns(self):
        """The processor time of all threads."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

    def stop(self):
        """Ends the server, and returns its statistics."""
        self.process.terminate()
        out, _ = self.process.communicate()
        return json.loads(out.splitlines()[-1])


def bench(address, *options):
    command = [PROGRAM, "bench", address, "--json", "-", *options]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout)


def one_run(side, load, is_scraped=False):
    """Returns the rate in messages a second, and the server's processor time for a message in nanoseconds."""
    program, options = side
    with Server(program, options) as server:
        done = threading.Event()
        if server.site:
            threading.Thread(target=scrape, args=(server.site, done), daemon=True).start()
        report = bench(server.address, *load)
        cpu = server.cpu_ns()
        done.set()
        return report["runs"][0]["throughput"]["messages_per_second"], cpu / server.stop()["reads"]


def scrape(site, done):
    """Reads the metrics each second, as Prometheus does."""
    while not done.wait(1):
        urllib.request.urlopen(f"{site}metrics", timeout=5).read()


def ratios(name, first, second, load, pairs):
    """Measures pairs, and prints a row of a table."""
    rates, costs = [], []
    for n in range(pairs):
        runs = {}
        for side in [0, 1] if n % 2 == 0 else [1, 0]:
            runs[side] = one_run([first, second][side], load)
        rates.append(runs[1][0] / runs[0][0])
        costs.append(runs[1][1] / runs[0][1])
    print(f"| {name} | {spread(rates)} | {spread(costs)} |", flush=True)


def spread(values):
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def shares(loops, connections, times):
    """Prints how many connections the busiest of the loops gets, in even shares."""
    busiest = []
    for _ in range(times):
        with Server(PROGRAM, ["--threads", str(loops)]) as server:
            # Each connection asks once: what the loops accepted counts.
            bench(server.address, "-c", str(connections), "-n", str(connections), "-w", "0s")
            accepted = [one["accepted"] for one in server.stop()["loops"]]
            busiest.append(max(accepted) * loops / sum(accepted))
    print(f"| {loops} | {connections:,} | {statistics.median(busiest):.2f} | {max(busiest):.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--before", help="another build of the program, whose one loop is compared too")
    args = parser.parse_args()
    load = lambda connections: ["-c", str(connections), "-d", f"{args.seconds}s", "-w", "500ms"]
    one, two, shown = (PROGRAM, []), (PROGRAM, ["--threads", "2"]), (PROGRAM, ["--metrics", "auto"])
    start = time.monotonic()
    print("| second ÷ first | rate | processor time for a message |\n|---|---:|---:|")
    if args.before:
        ratios("one loop ÷ one loop of the build before, 50 connections", (args.before, []), one, load(50), args.pairs)
    ratios("two loops ÷ one, 50 connections", one, two, load(50), args.pairs)
    ratios("two loops ÷ one, 1,000 connections", one, two, load(1000), args.pairs)
    ratios("the same side twice, 50 connections", one, one, load(50), args.pairs)
    ratios("`--metrics`, read each second ÷ without, 50 connections", one, shown, load(50), args.pairs)
    print("\n| loops | connections | busiest loop, even shares: median | worst |\n|---:|---:|---:|---:|")
    for loops in [2, 4]:
        for connections, times in [(10, 20), (100, 20), (10_000, 5)]:
            shares(loops, connections, times)
    print(f"\n{time.monotonic() - start:.0f} s")


main()
