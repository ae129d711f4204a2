"""C text for the rules that read it: includes with their lines, and code without comments and strings."""

import re

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?P<open>[<"])(?P<path>[^>"\n]+)[>"]', re.MULTILINE)
# A comment, a string or a character constant: whichever starts first decides.
NOT_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def code_of(text):
    """The same text with comments and the insides of strings blanked, every line where it was."""
    return NOT_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def includes(text):
    """(line, path, quoted) of each #include that is not commented out."""
    code = code_of_comments(text)
    for match in INCLUDE.finditer(code):
        yield line_of(code, match.start()), match["path"], match["open"] == '"'


def code_of_comments(text):
    """Comments alone blanked: the path of a quoted include is a string."""
    blank = lambda match: re.sub(r"[^\n]", " ", match.group()) if match.group().startswith("/") else match.group()
    return NOT_CODE.sub(blank, text)
