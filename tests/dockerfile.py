"""A Dockerfile as instructions, and the rules that ours keeps: hadolint's, by its numbers, and a few of our own.

``hadolint`` itself is a binary that few machines have; these are its rules that a change here could break.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

Found = tuple[str, int]  # rule, line


@dataclass(frozen=True)
class Instruction:
    """One instruction with its continued lines joined. ``ignored`` are the rules that a comment above it lifts."""

    word: str
    rest: str
    line: int
    stage: str
    ignored: tuple[str, ...] = ()


def instructions(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile, each with the name of its build stage ("" before the first)."""
    found: list[Instruction] = []
    stage, ignored, begun, held = "", (), 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not held and (not bare or bare.startswith("#")):
            marked = re.match(r"# hadolint ignore=(\S+)", bare)
            ignored = tuple(marked[1].split(",")) if marked else ignored
            continue
        if bare.startswith("#"):
            continue
        begun, held = (number if not held else begun), f"{held} {bare.removesuffix(chr(92))}".strip()
        if bare.endswith("\\"):
            continue
        word, _, rest = held.partition(" ")
        if word.upper() == "FROM":
            stage = rest.partition(" AS ")[2].strip() or f"line {begun}"
        found.append(Instruction(word, rest.strip(), begun, stage, ignored))
        ignored, held = (), ""
    return found


def lint(text: str) -> list[Found]:
    """Every rule that is broken, with its line."""
    lines = instructions(text)
    found = [one for rule in RULES for one in rule(lines)]
    lifted = {(rule, line.line) for line in lines for rule in line.ignored}
    return sorted(set(found) - lifted, key=lambda one: (one[1], one[0]))


def _of(lines: list[Instruction], *words: str) -> list[Instruction]:
    return [line for line in lines if line.word.upper() in words]


def words_are_upper_case(lines: list[Instruction]) -> Iterator[Found]:
    yield from (("case", line.line) for line in lines if line.word != line.word.upper())


def bases_are_pinned(lines: list[Instruction]) -> Iterator[Found]:
    """DL3006: a version; DL3007: not latest; ours: where a version is an ARG, the ARG names one of three parts."""
    args = dict(line.rest.partition("=")[::2] for line in _of(lines, "ARG"))
    stages = {line.rest.partition(" AS ")[2] for line in _of(lines, "FROM")}
    for line in _of(lines, "FROM"):
        image = re.sub(r"\$\{?(\w+)\}?", lambda name: args.get(name[1], ""), line.rest.partition(" AS ")[0].strip())
        tag = image.rpartition("/")[2].partition(":")[2]
        if image in stages:
            continue
        if not tag and "@sha256:" not in image:
            yield "DL3006", line.line
        elif tag == "latest":
            yield "DL3007", line.line
        elif "@sha256:" not in image and not re.match(r"\d+\.\d+\.\d+", tag):
            yield "pinned-base", line.line


def packages_are_pinned(lines: list[Instruction]) -> Iterator[Found]:
    """DL3013: pip by version or constraints; DL3008: apt by version."""
    for line in _of(lines, "RUN"):
        for command in re.split(r"&&|;", re.sub(r'"[^"]*"', '""', line.rest)):
            words = command.split()
            if "pip" in command and "install" in words:
                names = [w for w in words[words.index("install") + 1 :] if not w.startswith(("-", '"', ".", "'", "$"))]
                held = "--constraint" in words or "--requirement" in words or "-r" in words
                if not held and any("==" not in name for name in names):
                    yield "DL3013", line.line
            if words[:2] == ["apt-get", "install"] and any("=" not in w for w in words[2:] if not w.startswith("-")):
                yield "DL3008", line.line


def apt_is_tidy(lines: list[Instruction]) -> Iterator[Found]:
    """DL3009: lists deleted; DL3015: no recommended packages; DL3014: -y; DL3027: not apt."""
    for line in _of(lines, "RUN"):
        if "apt-get install" in line.rest:
            yield from (("DL3009", line.line) for _ in (1,) if "rm -rf /var/lib/apt/lists" not in line.rest)
            yield from (("DL3015", line.line) for _ in (1,) if "--no-install-recommends" not in line.rest)
            yield from (("DL3014", line.line) for _ in (1,) if not re.search(r"install.* (-y|--yes)\b", line.rest))
        if re.search(r"\bapt (install|update)", line.rest):
            yield "DL3027", line.line


def shell_is_plain(lines: list[Instruction]) -> Iterator[Found]:
    """DL3003: WORKDIR, not cd; DL3004: no sudo; DL4006: a pipe needs pipefail."""
    for line in _of(lines, "RUN"):
        if re.search(r"(^|&& |; )cd ", line.rest):
            yield "DL3003", line.line
        if re.search(r"\bsudo\b", line.rest):
            yield "DL3004", line.line
        if re.search(r"[^|]\|[^|]", re.sub(r'"[^"]*"', "", line.rest)) and "pipefail" not in line.rest:
            yield "DL4006", line.line


def files_are_copied(lines: list[Instruction]) -> Iterator[Found]:
    """DL3020: COPY, not ADD; DL3000: absolute WORKDIR; DL3022: --from names a stage."""
    stages = {line.stage for line in _of(lines, "FROM")}
    yield from (("DL3020", line.line) for line in _of(lines, "ADD"))
    yield from (("DL3000", line.line) for line in _of(lines, "WORKDIR") if not line.rest.startswith(("/", "$")))
    for line in _of(lines, "COPY"):
        source = re.search(r"--from=(\S+)", line.rest)
        if source and source[1] not in stages:
            yield "DL3022", line.line


def commands_are_lists(lines: list[Instruction]) -> Iterator[Found]:
    """DL3025: CMD and ENTRYPOINT as a JSON list, so that signals reach the process; DL4000: no MAINTAINER."""
    yield from (("DL3025", line.line) for line in _of(lines, "CMD", "ENTRYPOINT") if not line.rest.startswith("["))
    yield from (("DL4000", line.line) for line in _of(lines, "MAINTAINER"))


def final_stages_are_not_root(lines: list[Instruction]) -> Iterator[Found]:
    """DL3002, and ours: a stage that nothing builds on ends as a user with a number that is not 0."""
    bases = {line.stage: line.rest.partition(" AS ")[0].strip() for line in _of(lines, "FROM")}
    users = {line.stage: line.rest for line in _of(lines, "USER")}
    copied = {name for line in _of(lines, "COPY") for name in re.findall(r"--from=(\S+)", line.rest)}
    for line in _of(lines, "FROM"):
        if line.stage in (*bases.values(), *copied):
            continue
        stage = line.stage
        while stage in bases and stage not in users:
            stage = bases[stage]
        if not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", users.get(stage, "root")):
            yield "DL3002", line.line


def nothing_secret_stays(lines: list[Instruction]) -> Iterator[Found]:
    """Ours: no credential as ARG or ENV, since each stands in the image's history."""
    for line in _of(lines, "ARG", "ENV"):
        if re.search(r"(TOKEN|SECRET|PASSWORD|ACCESS_KEY)\w*(=|\s|$)", line.rest):
            yield "secret", line.line


RULES = (
    words_are_upper_case,
    bases_are_pinned,
    packages_are_pinned,
    apt_is_tidy,
    shell_is_plain,
    files_are_copied,
    commands_are_lists,
    final_stages_are_not_root,
    nothing_secret_stays,
)
