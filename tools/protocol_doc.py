#!/usr/bin/env python3
"""The tables of docs/protocol.md are those of the code.

    tools/protocol_doc.py [ROOT]           print where they differ, exit 1 if they do
    tools/protocol_doc.py --write [ROOT]   bring the document up to date

A table stands below a line `<!-- table: NAME -->` and ends at the first line that is not of a
table. Its cells come from src/wire/messages.def and src/wire/wire.h, except those of a last
column called "meaning", which is written by hand and kept. So do those of operations and records,
from src/wire/operations.def and records.def.
"""
import os
import re
import sys

DOCUMENT = "docs/protocol.md"
MESSAGES = "src/wire/messages.def"
OPERATIONS = "src/wire/operations.def"
RECORDS = "src/wire/records.def"
HEADERS = ["src/wire/wire.h", "src/wire/operations.h", "include/holdfast/sync.h"]

BYTES_OF_TYPE = {"U8": 1, "U16": 2, "U32": 4, "U64": 8, "ID": 16, "BYTES": 2, "REST": 0}
WAYS = {"TO_SERVER": "client → server", "TO_CLIENT": "server → client"}
CONSTANTS = ["WIRE_MAGIC", "WIRE_VERSION", "WIRE_FRAME_MAX", "WIRE_SMALL_FRAME_MAX", "HF_VALUE_MAX",
             "WIRE_DATA_MAX"]
BEFORE_FIELDS = 5  # the frame's length and the kind


class Wrong(Exception):
    """The sources do not look as this tool expects."""


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def read_messages(text):
    """[(name, number, way, [(field, type)])]"""
    messages = []
    pattern = r"^MESSAGE\((\w+),\s*(\d+),\s*(\w+),\s*((?:\w+\(\w+\)\s*)+)\)"
    for match in re.finditer(pattern, without_comments(text), flags=re.MULTILINE):
        fields = [(f[1], f[0]) for f in re.findall(r"(\w+)\((\w+)\)", match[4])]
        messages.append((match[1], int(match[2]), match[3], fields))
    if len(messages) != len(re.findall(r"^MESSAGE\(", text, flags=re.MULTILINE)):
        raise Wrong(f"{MESSAGES}: a message that is not understood")
    return messages


def read_layouts(text, macro, path, before):
    """[(what stands before the fields, "fields as TYPE(field) ...")]"""
    pattern = rf"^{macro}\({before},\s*((?:\w+\(\w+\)\s*)*)\)"
    plain = without_comments(text)
    found = [(match.groups()[:-1], " ".join(f"{t}({f})" for t, f in
                                            re.findall(r"(\w+)\((\w+)\)", match[match.lastindex])))
             for match in re.finditer(pattern, plain, flags=re.MULTILINE)]
    if len(found) != len(re.findall(rf"^{macro}\(", plain, flags=re.MULTILINE)):
        raise Wrong(f"{path}: an entry that is not understood")
    return found


def read_constants(text):
    found = dict(re.findall(r"^#define (\w+) (?:UINT(?:32|64)_C\()?(0x[0-9a-f]+|\d+)", text,
                            flags=re.MULTILINE))
    for name in CONSTANTS:
        if name not in found:
            raise Wrong(f"{name} is in none of {', '.join(HEADERS)}")
    return found


def read_flags(text, constants):
    """[(message, flag, bit)], from the blocks below comments that begin `X.flags`"""
    flags = []
    blocks = re.findall(r"^/\* ([A-Z_]+)\.flags(.*?)\*/\n((?:#define .*\n)+)", text,
                        flags=re.MULTILINE)
    for message, also, defines in blocks:
        names = re.findall(r"WIRE_(\w+)", also)
        names += [n for n in re.findall(r"#define WIRE_(\w+)", defines)
                  if not n.endswith("_FLAGS")]
        bits = [int(constants["WIRE_" + name], 16) for name in names]
        if sum(bits) != int(constants[f"WIRE_{message}_FLAGS"], 16):
            raise Wrong(f"the flags of {message} do not make up WIRE_{message}_FLAGS")
        flags += [(message, name, f"0x{bit:02x}") for name, bit in zip(names, bits)]
    return flags


def make_tables(root):
    """{name: (header cells, [cells of a row])}"""
    header_text = "".join(read(root, path) for path in HEADERS)
    messages = read_messages(read(root, MESSAGES))
    constants = read_constants(header_text)
    reasons = re.findall(r'REASON\((\w+), (\d+), (\w+), "([^"]*)"\)', header_text)

    tables = {
        "constants": (["constant", "value", "meaning"],
                      [[f"`{name}`", constants[name]] for name in CONSTANTS]),
        "messages": (["message", "number", "way", "meaning"],
                     [[name, str(number), WAYS[way]] for name, number, way, _ in messages]),
        "flags": (["message", "flag", "bit", "meaning"],
                  [[*flag] for flag in read_flags(header_text, constants)]),
        "reasons": (["reason", "number", "errno", "text"],
                    [[name, number, "" if error == "0" else error, text]
                     for name, number, error, text in reasons]),
    }
    operations = read_layouts(read(root, OPERATIONS), "OPERATION", OPERATIONS,
                              r"(\w+),\s*(\d+),\s*(\w+)")
    tables["operations"] = (["operation", "number", "fields", "answer", "meaning"],
                            [[name, number, fields, answer]
                             for (name, number, answer), fields in operations])
    records = read_layouts(read(root, RECORDS), "RECORD", RECORDS, r"(\w+),\s*\w+")
    tables["records"] = (["record", "fields", "meaning"],
                         [[name, fields] for (name,), fields in records])
    for name, _, _, fields in messages:
        rows = []
        at = BEFORE_FIELDS
        for field, kind in fields:
            rows.append([f"`{field}`", kind, str(at)])
            at += BYTES_OF_TYPE[kind]
        tables[f"fields {name}"] = (["field", "type", "at", "meaning"], rows)
    return tables


def cells_of(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def lay_out(header, rows):
    """The lines of a table, its columns padded."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    widths[-1] = 0  # nothing stands behind the last column
    lines = []
    for row in [header, ["-" * (width or 3) for width in widths], *rows]:
        padded = [cell.ljust(width) for cell, width in zip(row, widths)]
        lines.append(("| " + " | ".join(padded)).rstrip() + " |")
    return lines


def renew_table(name, table, old_lines, complain):
    header, rows = table
    by_hand = header[-1] == "meaning"
    columns = len(header)
    # What a row is about: all flags of a kind may have names of other kinds too.
    about = 2 if name == "flags" else 1
    meanings = {}
    for line in old_lines[2:]:
        cells = cells_of(line)
        if by_hand and len(cells) == columns:
            meanings[tuple(cells[:about])] = cells[-1]
    full_rows = []
    for row in rows:
        if by_hand:
            meaning = meanings.get(tuple(row[:about]), "")
            if not meaning:
                complain(f"nothing is said about {' '.join(row[:about])}")
            row = [*row, meaning]
        full_rows.append(row)
    return lay_out(header, full_rows)


def renew(text, tables, complain):
    """The document with all tables as they should be."""
    lines = text.split("\n")
    output = []
    missing = set(tables)
    i = 0
    while i < len(lines):
        line = lines[i]
        output.append(line)
        i += 1
        match = re.fullmatch(r"<!-- table: (.*) -->", line)
        if not match:
            continue
        name = match[1]
        if name not in tables:
            complain(i, f"there is no table '{name}' in the code")
            continue
        missing.discard(name)
        if i < len(lines) and lines[i] == "":
            output.append("")
            i += 1
        begin = i
        while i < len(lines) and lines[i].startswith("|"):
            i += 1
        old = lines[begin:i]
        new = renew_table(name, tables[name], old, lambda what: complain(begin, what))
        if old != new:
            complain(begin, f"the table '{name}' is not that of the code", mended=True)
        output += new
        if i < len(lines) and lines[i] != "":
            output.append("")  # what follows is not of the table
    for name in sorted(missing):
        complain(len(lines), f"the table '{name}' is missing")
    return "\n".join(output)


def main(arguments):
    write = arguments[:1] == ["--write"]
    roots = arguments[1:] if write else arguments
    root = roots[0] if roots else "."
    wrong = 0

    def complain(line, what, mended=False):
        nonlocal wrong
        if not (mended and write):
            print(f"{DOCUMENT}:{line}: {what}")
            wrong += 1

    try:
        tables = make_tables(root)
        text = read(root, DOCUMENT)
    except (Wrong, OSError) as error:
        print(error)
        return 1
    renewed = renew(text, tables, complain)
    if write and renewed != text:
        with open(os.path.join(root, DOCUMENT), "w", encoding="utf-8") as file:
            file.write(renewed)
    elif wrong and not write:
        print("tools/protocol_doc.py --write brings the tables up to date")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
