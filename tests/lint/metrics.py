#!/usr/bin/env python3
"""docs/metrics.md names what the code counts and logs: every metric family, every value of a closed list that becomes a
label or a response flag, every field of the access log. And it names no family that the code does not have.

Who is woken by an alert looks there first; a reason that is missing was never explained to anybody.
"""

import re

import rule

PAGE = "docs/metrics.md"
FAMILY = re.compile(r'"((?:istio|fairlead)_[a-z0-9_]+)"')
X_ROW = re.compile(r'X\(\w+,(?: \d+,)? "(?:http1\.)?([^"]+)"\)')
LISTS = (  # file, which rows of it
    ("proxy/telemetry/stats.h", X_ROW),
    ("proxy/telemetry/flag.h", X_ROW),
    ("proxy/http/h1.h", X_ROW),
    ("proxy/dns/stats.h", X_ROW),
    ("cni/install/install.h", X_ROW),
    ("cni/repair/repair.h", X_ROW),
    ("cni/agent/serve.h", X_ROW),
    ("cni/agent/stats.h", X_ROW),
    ("proxy/telemetry/logline.c", re.compile(r'^ +(?:TEXT|ADDRESS|SPECIAL)\("(\w+)"', re.MULTILINE)),
)


def families(tree):
    """Name → file, of the components."""
    for name in tree.sources("common", "webhook", "cni", "proxy", "control"):
        if name.endswith(".c"):
            for match in FAMILY.finditer(tree.text(name)):
                yield match[1], name


def words(tree):
    for name, row in LISTS:
        if name in tree.files:
            for match in row.finditer(tree.text(name)):
                yield match[1], name


def check(tree):
    page = tree.text(PAGE) if PAGE in tree.files else ""
    named = set(re.findall(r"`([^`{]+)(?:\{[^`]*\})?`", page))
    known = dict(families(tree))
    for word, name in [*known.items(), *words(tree)]:
        if word not in named:
            yield rule.Finding(f"{name} {word}", name, f"{PAGE} does not tell of {word}")
    for word in sorted(named):
        if re.fullmatch(r"(?:istio|fairlead)_[a-z0-9_]+", word) and word not in known:
            yield rule.Finding(f"{PAGE} {word}", PAGE, f"the code has no metric {word}")


CODE = {"proxy/telemetry/stats.c": 'FAMILY("istio_requests_total", "Requests.")',
        "proxy/telemetry/stats.h": '    X(LIMIT, "limit") /* too many */ \\\n    X(LOOP, "loop")'}
SAMPLES = [
    ("told", {**CODE, PAGE: "`istio_requests_total{reporter}`: `limit`, `loop`"}, []),
    ("no page", CODE, ["proxy/telemetry/stats.c istio_requests_total", "proxy/telemetry/stats.h limit",
                       "proxy/telemetry/stats.h loop"]),
    ("a family is missing", {**CODE, PAGE: "`limit` `loop`"}, ["proxy/telemetry/stats.c istio_requests_total"]),
    ("a reason is missing", {**CODE, PAGE: "`istio_requests_total` `limit`"}, ["proxy/telemetry/stats.h loop"]),
    ("a family is gone", {PAGE: "`fairlead_old_total`"}, [f"{PAGE} fairlead_old_total"]),
    ("a field of the log", {"proxy/telemetry/logline.c": '    TEXT("path", path, 9),\n', PAGE: ""},
     ["proxy/telemetry/logline.c path"]),
    ("a codec's word", {"proxy/http/h1.h": 'X(METHOD, 400, "http1.method")', PAGE: "`method`"}, []),
]

if __name__ == "__main__":
    rule.main(__file__, check, SAMPLES)
