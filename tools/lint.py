#!/usr/bin/env python3
"""Rules that the compiler does not check. Prints FILE:LINE: what is wrong, exits 1.

    tools/lint.py [ROOT]           check the tree
    tools/lint.py --files [ROOT]   print the C files it looks at
"""
import os
import re
import sys

# Which folders of src/ a folder may include from, besides itself: DESIGN, "Layers and
# folders". The public headers, <holdfast/x.h>, are open to all.
LAYERS = {
    "base": [],
    "wire": ["base"],
    "sync": ["base", "wire"],
    "locks": ["base", "wire"],
    "client": ["base", "wire", "sync", "locks"],
    "server": ["base", "wire", "sync", "locks", "store"],
    "store": ["base", "wire"],
    "fs": ["base", "wire", "locks", "client"],
    "mounts": ["base", "client", "fs"],
    "api": ["base", "client", "fs", "mounts"],
    "fuse": ["base", "fs"],
    "cli": ["base", "api", "server", "fuse"],
}

# The core does no I/O: no sockets, clock or threads, so that a simulator can own it.
NO_IO_FOLDERS = ["wire", "sync", "locks"]
IO_HEADERS = re.compile(
    r"(sys/(socket|un|uio|epoll|eventfd|time|stat|mman|ioctl|select)|poll|time|pthread|"
    r"threads|semaphore|signal|unistd|fcntl|uv)\.h$"
)
# Where a type is needed of such a header: struct timespec.
FOR_TYPES = [("wire", "time.h")]
# libholdfast needs libc and pthreads only.
LIBUV_FOLDERS = ["server", "cli"]

C_FOLDERS = ["include", "src", "tests", "bench", "fuzz", "examples"]
LENGTH_FOLDERS = ["include", "src", "tests", "bench"]
MAX_LINES = 700

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def c_files(root):
    for top in C_FOLDERS:
        for folder, folders, names in os.walk(os.path.join(root, top)):
            folders.sort()
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def check_include(path, kind, header):
    """What is wrong with this include in this file, or None."""
    parts = path.split(os.sep)
    if parts[0] == "include":
        if kind == '"':
            return f'a public header includes "{header}"; only <holdfast/...> and the system\'s'
        return None
    if parts[0] != "src" or len(parts) < 3 or path.endswith("_test.c"):
        return None  # tests, fuzzers and benchmarks may look at everything

    folder = parts[1]
    if kind == "<":
        if (folder in NO_IO_FOLDERS and IO_HEADERS.match(header)
                and (folder, header) not in FOR_TYPES):
            return f"src/{folder} does no I/O and includes <{header}>"
        if header == "uv.h" and folder not in LIBUV_FOLDERS:
            return f"<uv.h> in src/{folder}; only {', '.join(LIBUV_FOLDERS)} may use libuv"
        return None
    if folder not in LAYERS:
        return f"src/{folder} is not in the table of layers (tools/lint.py)"
    other = header.split("/")[0]
    if "/" not in header or other not in LAYERS:
        return f'"{header}" does not begin with a folder of src/'
    if other != folder and other not in LAYERS[folder]:
        allowed = ", ".join(LAYERS[folder]) or "nothing"
        return f'src/{folder} includes "{header}"; it may use: {allowed}'
    return None


def check_file(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
        lines = file.read().split("\n")
    last = lines.pop()
    if last:
        yield len(lines) + 1, "no newline at the end of the file"
        lines.append(last)
    for number, line in enumerate(lines, 1):
        if "\t" in line:
            yield number, "a tab"
        if line != line.rstrip():
            yield number, "white space at the end of the line"
        match = INCLUDE.match(line)
        if match:
            wrong = check_include(path, match[1], match[2])
            if wrong:
                yield number, wrong
    if len(lines) > MAX_LINES and path.split(os.sep)[0] in LENGTH_FOLDERS:
        yield len(lines), f"{len(lines)} lines, {MAX_LINES} at most: split the file"


def main(arguments):
    only_files = arguments[:1] == ["--files"]
    roots = arguments[1:] if only_files else arguments
    root = roots[0] if roots else "."
    wrong = 0
    for path in c_files(root):
        if only_files:
            print(path)
            continue
        for number, what in check_file(root, path):
            print(f"{path}:{number}: {what}")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
