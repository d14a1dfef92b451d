"""Model files that were damaged or forged: whatever they hold, they are refused in one line or load unchanged.

``python tests/fuzz/modelfiles.py`` makes 3,000 damaged files (something is changed, the digest is not) and 1,000 forged
ones (the digest is computed anew) from the golden models, structure by structure. A damaged file must be refused. A
forged one may load or be refused by an `AsdError` of one line. No other exception, no file outside, no connection, no
process, nothing that takes more than five seconds or a gigabyte. ``--score`` scores a clip with each that loads.
``--hostile`` tries every parameter that takes text, of all installed components, with addresses and paths.
``--only N`` repeats one case, with its traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).resolve().parent.parent / "golden"

FOLDER = tempfile.TemporaryDirectory(prefix="asd-fuzz-")
os.environ["ASD_CACHE"] = CACHE = str(Path(FOLDER.name, "cache"))
os.environ["ASD_SETTINGS"] = str(Path(FOLDER.name, "settings"))
os.environ.pop("ASD_OFFLINE", None)

import numpy as np  # noqa: E402  # after the environment
from trial import Guard, Trial, limit_memory, peak_memory  # noqa: E402

import asd  # noqa: E402
from asd.contract.create import parameters  # noqa: E402
from asd.contract.installed import registry  # noqa: E402
from asd.detection import modelfile  # noqa: E402
from asd_registry import PIPELINE_KINDS, Engine  # noqa: E402

Random = random.Random
Arrays = modelfile.Arrays


# Damaged files


def damaged(rng: Random, content: bytes) -> tuple[str, bytes]:
    """Return how `content` was damaged, and the result, which differs from it."""
    while True:
        kind = rng.choice([flip, flip_header, cut, lengthen, move, misstate_length, respell, redescribe, tamper])
        changed = kind(rng, content)
        if changed != content:
            return kind.__name__, changed


def header_length(content: bytes) -> int:
    return int.from_bytes(content[:8], "little")


def with_header(content: bytes, header: bytes) -> bytes:
    """Return `content` with another header, its length corrected."""
    return len(header).to_bytes(8, "little") + header + content[8 + header_length(content) :]


def flip(rng: Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flip_header(rng: Random, content: bytes) -> bytes:
    changed = bytearray(content)
    changed[rng.randrange(8 + header_length(content))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(rng: Random, content: bytes) -> bytes:
    return content[: rng.choice([rng.randrange(len(content)), rng.randrange(16), len(content) - 1])]


def lengthen(rng: Random, content: bytes) -> bytes:
    return content + rng.choice([b"\0", b"\0" * 8, content, rng.randbytes(100)])


def move(rng: Random, content: bytes) -> bytes:
    """Cut a piece out, or put it in again elsewhere."""
    start, size = rng.randrange(len(content)), rng.choice([1, 2, 8, 64, 4096])
    piece, rest = content[start : start + size], content[:start] + content[start + size :]
    place = rng.randrange(len(rest) + 1)
    return rng.choice([rest, rest[:place] + piece + rest[place:], content[:place] + piece + content[place:]])


def misstate_length(rng: Random, content: bytes) -> bytes:
    length, size = header_length(content), len(content)
    wrong = [
        0,
        1,
        length - 1,
        length + 1,
        length - 8,
        length + 8,
        size,
        size - 8,
        2**31,
        2**32 + length,
        2**63,
        2**64 - 1,
    ]
    return rng.choice(wrong).to_bytes(8, "little") + content[8:]


def respell(rng: Random, content: bytes) -> bytes:
    """Write the header in another way; most of these ways mean the same."""
    header = content[8 : 8 + header_length(content)]
    text = header.decode()
    plain = json.loads(text)
    name = rng.choice(list(plain))
    key = json.dumps(name)
    return with_header(
        content,
        rng.choice(
            [
                lambda: json.dumps(plain).encode(),
                lambda: json.dumps(plain, separators=(",", ":"), sort_keys=True).encode() + b" ",
                lambda: header + b" " * rng.choice([1, 8]),
                lambda: b" " + header,
                lambda: header.rstrip() + b"\n" * (len(header) - len(header.rstrip()) or 8),
                lambda: header.rstrip()[:-1] + f",{key}:{json.dumps(plain[name])}}}".encode(),
                lambda: header.replace(b'"F64"', rng.choice([b'"f64"', b'"BF16"', b'"F128"', b'"\\u004636"', b"64"])),
                lambda: header.replace(key.encode(), f'"\\u{ord(name[0]):04x}{name[1:]}"'.encode(), 1),
                lambda: header.replace(b'"asd":', b'"asd":"{}","asd":', 1),
                lambda: header.replace(b'"sha256":', b'"more":"","sha256":', 1),
                lambda: header.replace(b'"sha256":', rng.choice([b'"SHA256":', b'"sha256":"0","sha256":']), 1),
                lambda: header.replace(b"_", rng.choice([b"\xff", b"\xed\xa0\x80", b"\0", b"\\ud800"]), 1),
                lambda: b'{"a":' * rng.choice([100, 50_000]) + b"1" + b"}" * 100,
                lambda: b"[" * 100_000,
                lambda: b"\xef\xbb\xbf" + header,
                lambda: b"null",
            ]
        )(),
    )


def redescribe(rng: Random, content: bytes) -> bytes:
    """Say something else of an array, or of two, in a header that is otherwise as it should be."""
    plain = json.loads(content[8 : 8 + header_length(content)])
    names = [name for name in plain if name != "__metadata__"]
    name, other = rng.sample(names, 2)
    entry = plain[name]
    start, end = entry["data_offsets"]
    huge = [2**40, 2**62, 2**63, 2**64, 10**5000]
    change = rng.randrange(11)
    if change == 0:
        entry["dtype"] = rng.choice(
            ["F64", "I64", "U64", "F32", "I32", "F16", "BF16", "BOOL", "U8", "F8_E4M3", "", "O"]
        )
    elif change == 1:
        entry["shape"] = rng.choice(
            [[*entry["shape"], 1], [1, *entry["shape"]], entry["shape"][::-1], [], [0], [-1], [1] * 99]
        )
    elif change == 2:
        entry["shape"] = [rng.choice(huge)] * rng.choice([1, 2, 30])
    elif change == 3:
        entry["data_offsets"] = rng.choice(
            [[start + 8, end + 8], [start - 8, end], [end, start], [start, end + 8], [0, 0]]
        )
    elif change == 4:
        entry["data_offsets"] = rng.choice(
            [[start, rng.choice(huge)], [rng.choice(huge)] * 2, [-8, end], [start], [], None]
        )
    elif change == 5:
        plain[name], plain[other] = plain[other], entry
    elif change == 6:
        del plain[name]
    elif change == 7:
        plain[rng.choice(["more", "0.detector.more", "", "\n", "x" * 1000])] = entry
    elif change == 8:
        plain = {key if key != name else f"{name}x": value for key, value in plain.items()}
    elif change == 9:
        entry[rng.choice(["dtype", "shape", "data_offsets", "more"])] = junk(rng)
    else:
        entry["shape"], entry["data_offsets"] = [0, *([2**40] * rng.choice([1, 3]))], [start, start]
    sys.set_int_max_str_digits(10_000)
    return with_header(content, packed(plain))


def tamper(rng: Random, content: bytes) -> bytes:
    """Change the manifest or the digest, in a header that is otherwise as it should be."""
    plain = json.loads(content[8 : 8 + header_length(content)])
    metadata = plain["__metadata__"]
    if rng.random() < 0.2:
        digest = metadata["sha256"]
        metadata["sha256"] = rng.choice(
            [digest.upper(), f" {digest}", digest[:-1], "", "0" * 64, digest[::-1], None, {}]
        )
    elif rng.random() < 0.1:
        del metadata[rng.choice(["asd", "sha256"])]
    else:
        metadata["asd"] = forged_text(rng, json.loads(metadata["asd"]))
    return with_header(content, packed(plain))


def packed(plain: Any) -> bytes:
    """Return a header as asd writes it."""
    text = json.dumps(plain, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    return text + b" " * (-len(text) % 8)


# Forged files


def forged(rng: Random, manifest: dict[str, Any], arrays: Arrays) -> tuple[str, bytes]:
    """Return what is forged, and a file whose digest is right."""
    manifest, arrays = json.loads(json.dumps(manifest)), dict(arrays)
    what = rng.choice(["manifest", "manifest", "arrays", "both", "choice"])
    if what in ("arrays", "both"):
        with np.errstate(all="ignore"):
            for _ in range(rng.choice([1, 1, 3])):
                forge_array(rng, arrays)
    if what == "choice":
        forge_choice(rng, manifest["config"])
    text = forged_text(rng, manifest) if what in ("manifest", "both") else json.dumps(manifest, sort_keys=True)
    return what, signed(text, arrays)


def signed(text: str, arrays: Arrays) -> bytes:
    """Return the bytes of a model file, whatever its manifest says."""
    plain = {name: np.array(array, order="C") for name, array in arrays.items()}
    data = b"".join(plain[name].tobytes() for name in modelfile._layout(plain))
    return modelfile._new_header(text, plain) + data


def forged_text(rng: Random, manifest: dict[str, Any]) -> str:
    """Return the text of a manifest with one to three changes."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        owner, key = rng.choice(list(places(manifest)))
        change = rng.random()
        if change < 0.6:
            owner[key] = junk(rng)
        elif change < 0.8:
            del owner[key]
        elif isinstance(owner, dict):
            owner[rng.choice(["more", "__class__", "runtime", "self", "a" * 1000, "a\nb"])] = owner.pop(key)
        else:
            owner += [junk(rng)] * rng.choice([1, 1000])
    text = json.dumps(manifest, sort_keys=True)
    if rng.random() > 0.2:
        return text
    key = rng.choice(['"members"', '"seed"', '"level"', '"clip_seconds"', '"name"', '"n_mels"', '"config"'])
    changes = [
        *(text.replace(f"{key}: ", f"{key}: {raw}, {key}: ", 1) for raw in ("0", "{}", "null")),
        *(
            text.replace(f"{key}: ", f"{key}: {raw}", 1)
            for raw in ("1" * 5000, "NaN", "-Infinity", "1e999", "0x1", "[" * 10**5)
        ),
        *(text + more for more in ("x", "{}", "\0")),
        text[: rng.randrange(len(text))],
        "\ufeff" + text,
        "",
        "[]",
        "null",
    ]
    return rng.choice(changes)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each place in a structure of dicts and lists as (owner, key)."""
    for key, part in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(part, dict | list):
            yield from places(part)


def junk(rng: Random) -> Any:
    """Return a value that may stand where it should not."""
    numbers = [0, -1, 1, 2, 1000, 300_000, 2**31, 2**40, 2**63 - 1, -(2**63), 10**4000, 0.5, -0.0, 1e-320, 1e308, -1e12]
    texts = [
        "",
        "x",
        "0",
        "nan",
        "max",
        "x" * 100_000,
        "x" * 5000,
        "\x1b[31m",
        "a\nb",
        "\ud800",
        "../../x",
        "/etc/hostname",
    ]
    texts += ["http://127.0.0.1:9/x.pb", "gmm", "asd-sklearn:knn", "asd-frontends:mel-image", "none", "auto"]
    others: list[Any] = [None, True, False, [], {}, [[]] * 1000, {"name": "gmm"}, {"name": {}}, [1e308] * 3]
    others.append(nested(rng.choice([5, 50, 400])))
    return rng.choice(rng.choice([numbers, texts, others]))


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def forge_array(rng: Random, arrays: Arrays) -> None:
    """Change one of the arrays."""
    name = rng.choice([*arrays, "calibration.member", "calibration.scores"])
    array = arrays.pop(name, np.zeros(1))
    other = rng.choice(list(arrays)) if arrays else name
    extremes = [-1, 1, 5, 2**31, 2**62] if array.dtype.kind in "iu" else [np.nan, np.inf, -np.inf, 1e308, 0, -1, 1e-320]
    dtypes = ["bool", "int8", "uint8", "int64", "uint64", "float16", "float32", "float64"]
    change = rng.randrange(9)
    if change == 0:
        return
    if change == 1:
        name = rng.choice(
            ["more", "0.more", "0.detector.score", "0.detector.__class__", "7.transform.mean", ".", "", "calibration.x"]
        )
    elif change == 2:
        array = array.astype(rng.choice(dtypes))
    elif change == 3:
        array = rng.choice([array[None], array.reshape(-1), array.T, array[..., None]])
    elif change == 4:
        array = rng.choice(
            [np.zeros((0, 5)), np.zeros(()), np.zeros((0, 2**39), np.uint8), array[:0] if array.ndim else array]
        )
    elif change == 5:
        array = np.full_like(array, rng.choice(extremes))
    elif change == 6 and array.size:
        array = array.copy()
        array.reshape(-1)[rng.randrange(array.size)] = rng.choice(extremes)
    elif change == 7 and array.ndim:
        array = rng.choice([array[:-1], np.concatenate([array, array]), np.repeat(array, 3, axis=-1)])
    else:
        array = arrays[other]
    arrays[name] = array


def forge_choice(rng: Random, config: dict[str, Any]) -> None:
    """Choose other components, with parameters of theirs that may make no sense."""
    kind = rng.choice(PIPELINE_KINDS)
    component = rng.choice([c for c in registry().components if c.spec.kind == kind])
    config[kind] = {"name": component.qualified_name}
    if rng.random() < 0.7:
        for parameter in parameters(component):
            if rng.random() < 0.3:
                config[kind][parameter.name] = junk(rng)


# What no model file may choose


def hostile(manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (what, manifest) for each parameter that takes text: an address, a path, a device and a name on a hub."""
    given = ["http://127.0.0.1:9/x.safetensors", "https://127.0.0.1:9/x.pb", "/etc/hostname", "/dev/zero", "x/y"]
    for component in registry().components:
        kind = component.spec.kind
        if kind not in PIPELINE_KINDS:
            continue
        taken = {parameter.name for parameter in parameters(component) if "str" in str(parameter.annotation)}
        digests = {name: "0" * 64 for name in taken if name.endswith("sha256")}
        for name in sorted(taken - digests.keys()):
            for value in given:
                changed = json.loads(json.dumps(manifest))
                changed["config"][kind] = {"name": component.qualified_name, name: value, **digests}
                if kind == "extractor":
                    changed["config"]["frontend"] = component.spec.frontend
                yield f"{component.qualified_name} {name}={value}", json.dumps(changed)


def load_and_score(path: Path, engine: Engine = "auto") -> None:
    """Load a model and score a clip with it, as `asd score` would; a failure is raised."""
    model = asd.load(path, runtime=asd.Runtime(device="cpu", engine=engine))
    for result in asd.score(model, str(GOLDEN / "clips" / "healthy.flac")):
        if not isinstance(result, asd.Verdict):
            raise result.error


def warm_up() -> None:
    """Import what the models need, so that a case is not charged with it."""
    for path in sorted(GOLDEN.glob("*.asd")):
        load_and_score(path)
    load_and_score(GOLDEN / "squeezenet-ensemble.asd", "torch")  # a forged file may choose what PyTorch computes
    platform.processor()  # starts a program, once: some libraries want to know when they are imported


def main() -> int:
    """Run the cases and print what came of them; return 1 if one went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--damaged", type=int, default=3000, metavar="N", help="damaged files (default 3000)")
    parser.add_argument("--forged", type=int, default=1000, metavar="N", help="forged files (default 1000)")
    parser.add_argument("--score", action="store_true", help="score a clip with each forged file that loads")
    parser.add_argument("--hostile", action="store_true", help="only addresses and paths as parameters")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="N", help="the case of this number alone, with its traceback")
    options = parser.parse_args()
    path = Path(FOLDER.name, "case.asd")
    models = [(golden.read_bytes(), *modelfile.read(golden)) for golden in sorted(GOLDEN.glob("*.asd"))]
    if options.forged or options.hostile:
        warm_up()
    held = peak_memory()
    trial = Trial(Guard(path, GOLDEN, cache=CACHE))
    limit_memory()

    def try_all(name: str, cases: Iterator[tuple[str, bytes]], action: Callable[[Path], object], succeed: bool) -> None:
        for number, (what, content) in enumerate(cases):
            if options.only in (None, number):
                path.write_bytes(content)
                shown = options.only is not None
                trial.run(f"{name} {number} ({what})", lambda: action(path), may_succeed=succeed, shown=shown)

    def seeded(count: int, make: Callable[[Random], tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
        return (make(Random(f"{options.seed} {number}")) for number in range(count))

    if options.hostile:
        manifest, arrays = models[2][1:]
        cases = ((what, signed(text, arrays)) for what, text in hostile(manifest))
        try_all("hostile", cases, load_and_score, True)
    else:
        try_all("damaged", seeded(options.damaged, lambda r: damaged(r, r.choice(models)[0])), modelfile.read, False)
        print(f"{options.damaged} damaged files: {dict(trial.outcomes)}")
        trial.outcomes.clear()
        action = load_and_score if options.score else asd.load
        try_all("forged", seeded(options.forged, lambda r: forged(r, *r.choice(models)[1:])), action, True)
    print(f"{sum(trial.outcomes.values())} forged files: {dict(trial.outcomes)}")
    print(f"memory: {(peak_memory() - held) / 1e6:.0f} MB more than the {held / 1e6:.0f} MB of the intact models")
    print("\n".join(trial.problems) or "nothing went wrong")
    return 1 if trial.problems else 0


if __name__ == "__main__":
    sys.exit(main())
