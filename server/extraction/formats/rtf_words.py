"""The words of RTF that mean text, gaps, charsets, or parts that are no text."""

from __future__ import annotations

from typing import Final

from server.extraction.formats.flow import CELL, LINE, PARAGRAPH

WINDOWS_1252: Final = "cp1252"
FONT_SETS: Final = {
    77: "mac-roman",
    128: "cp932",
    129: "cp949",
    130: "johab",
    134: "gb18030",
    136: "big5",
    161: "cp1253",
    162: "cp1254",
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
    254: "cp437",
    255: "cp850",
}
"""Charsets of fonts by their numbers; others are those of the document."""

PAGES: Final = {0: WINDOWS_1252, 10000: "mac-roman", 10007: "mac-cyrillic", 65001: "utf-8"}
KINDS: Final = {"ansi": WINDOWS_1252, "mac": "mac-roman", "pc": "cp437", "pca": "cp850"}

PASSED: Final = frozenset(
    (
        *("colortbl", "stylesheet", "info", "pict", "objdata", "objclass", "objname", "nonshppict", "fldinst"),
        *("xe", "tc", "rxe", "bkmkstart", "bkmkend", "pntext", "pntxta", "pntxtb", "atnid", "atnauthor", "atntime"),
        *("atndate", "atnref", "atnparent", "atnicn", "revtbl", "filetbl", "listtable", "listoverridetable"),
        *("listpicture", "rsidtbl", "generator", "shprslt", "themedata", "datastore", "latentstyles", "xmlnstbl"),
        *("sp", "sn", "sv", "ud", "template", "private", "falt", "panose", "fontemb", "fontfile", "mmathPr"),
    )
)
"""Parts of a document that are no text of it."""

READ: Final = frozenset(("shpinst", "shptxt", "annotation", "shppict", "footnote"))
"""Parts with text among those that a reader may pass over."""

APART: Final = frozenset(("footnote", "annotation"))
BLOCKS: Final = frozenset(
    ("header", "headerl", "headerr", "headerf", "footer", "footerl", "footerr", "footerf", "shptxt")
)
GAPS: Final = dict.fromkeys(("par", "sect", "page"), PARAGRAPH) | {
    "cell": CELL,
    "nestcell": CELL,
    "row": LINE,
    "nestrow": LINE,
}
SHOWN: Final = {
    "tab": "\t",
    "line": "\n",
    "emdash": "\u2014",
    "endash": "\u2013",
    "bullet": "\u2022",
    "lquote": "\u2018",
    "rquote": "\u2019",
    "ldblquote": "\u201c",
    "rdblquote": "\u201d",
    "emspace": "\u2003",
    "enspace": "\u2002",
    "qmspace": "\u2005",
    "zwj": "\u200d",
    "zwnj": "\u200c",
}
SIGNS: Final = {b"\\": "\\", b"{": "{", b"}": "}", b"~": "\u00a0", b"_": "\u2011"}
