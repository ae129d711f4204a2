#!/usr/bin/env python3
"""Functions that this code base does without, each with its reason.

Most of them cannot be used rightly (no bound, no error, hidden state); the others go against a rule of the house. Tests
are held to the first kind too; they may end themselves and cmocka includes setjmp.h.
"""

import re

import csource
import rule

NO_BOUND = "writes without a bound: use struct fl_buf, or snprintf"
SILENT_CUT = "leaves the NUL out, or cuts in silence: use struct fl_buf, or memcpy with a checked length"
NO_ERROR = "tells no error and no range: fl_span_to_u64"
STATIC_BUFFER = "hands out one static buffer to all threads: use the _r form, or inet_ntop"
HIDDEN_STATE = "keeps hidden state and writes into its input: fl_span_split"
SHELL = "hands text to a shell: use posix_spawn with an argument vector"
SLEEP = "nothing here sleeps to wait for an event: a timer or a source of the loop"
INEXACT = "ignores case: use the look-up of common/doc, which matches exact keys"
ENDS = "a library does not end its process: return the error; main.c decides"
JUMP = "jumps over clean-up attributes"
STACK = "takes what it likes from the stack: fl_arena, or an array with a bound"
GUESS = "a predictable source: getrandom, or OpenSSL's RAND_bytes"
RACE = "names a file before it is opened: mkostemp, or memfd_create"
BLOCKS = "blocks, and hides the address family: getaddrinfo where blocking is fine, else the resolver"

EVERYWHERE = {
    **dict.fromkeys(("strcpy", "strcat", "stpcpy", "sprintf", "vsprintf", "gets", "scanf"), NO_BOUND),
    **dict.fromkeys(("strncpy", "strncat"), SILENT_CUT),
    **dict.fromkeys(("atoi", "atol", "atoll", "atof"), NO_ERROR),
    **dict.fromkeys(("asctime", "ctime", "gmtime", "localtime", "inet_ntoa"), STATIC_BUFFER),
    **dict.fromkeys(("strtok", "strtok_r"), HIDDEN_STATE),
    **dict.fromkeys(("system", "popen"), SHELL),
    **dict.fromkeys(("sleep", "usleep"), SLEEP),
    **dict.fromkeys(("cJSON_GetObjectItem", "cJSON_HasObjectItem"), INEXACT),
    **dict.fromkeys(("alloca",), STACK),
    **dict.fromkeys(("tmpnam", "tempnam", "mktemp"), RACE),
    **dict.fromkeys(("gethostbyname", "gethostbyaddr", "inet_addr"), BLOCKS),
}
PRODUCT = {
    **dict.fromkeys(("exit", "quick_exit"), ENDS),
    **dict.fromkeys(("setjmp", "sigsetjmp", "longjmp", "siglongjmp"), JUMP),
    **dict.fromkeys(("rand", "srand", "random", "srandom"), GUESS),
    **dict.fromkeys(("nanosleep", "clock_nanosleep"), SLEEP),
}
EVERY_NAME = re.compile(r"(?<![\w.])(?<!->)(" + "|".join(sorted({**EVERYWHERE, **PRODUCT})) + r")\s*\(")


def reason_for(name, function):
    if function in EVERYWHERE:
        return EVERYWHERE[function]
    if name.startswith("tests/") or (function in ("exit", "quick_exit") and name.endswith("/main.c")):
        return None
    return PRODUCT[function]


def check(tree):
    for name in tree.sources():
        code = csource.code_of(tree.text(name))
        for match in EVERY_NAME.finditer(code):
            reason = reason_for(name, match[1])
            if reason:
                place = f"{name}:{csource.line_of(code, match.start())}"
                yield rule.Finding(f"{name} {match[1]}", place, f"{match[1]} {reason}")


def sample(name, text, *functions):
    return f"{name}: {text}", {name: text}, [f"{name} {function}" for function in functions]


SAMPLES = [
    *(sample("cni/x.c", f"int x = {function}(y);", function) for function in (*EVERYWHERE, *PRODUCT)),
    sample("tests/unit/x.c", "strcpy(a, b); exit(1); usleep (1);", "strcpy", "usleep"),
    sample("cni/main.c", "exit(2); _exit(2); strtok(a, b);", "strtok"),
    sample("cni/x.c", "a.sleep(1); b->exit(1); my_exit(1); strcpyx(a); fl_random(x);"),
    sample("cni/x.c", '/* strcpy(a, b) */ "system(x)"; // gets(a)'),
    sample("cni/x.c", "char c = '\"'; strcpy(a, b); char d = '\"';", "strcpy"),
    sample("cni/x.c", "cJSON_GetObjectItemCaseSensitive(a, b); snprintf(a, 1, b);"),
]

if __name__ == "__main__":
    rule.main(__file__, check, SAMPLES)
