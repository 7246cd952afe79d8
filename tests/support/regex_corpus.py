"""Patterns that are easily got wrong, and what becomes of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Translated:
    """A pattern, the tests expected for it, and subjects worth judging beside the common ones."""

    pattern: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A pattern, the construct that stands in the way, and its offset if it has one."""

    pattern: str
    construct: str
    position: int | None = None


COMMON_SUBJECTS = (
    *("", "\n", "a", "aa", "ab", "a\n", "a\n\n", "b", "A", "1", "_", "é", "\x00"),
    *("model::a", "model::llama-3"),
)


def _t(pattern: str, positive: str | tuple[str, ...], *subjects: str, negatives: tuple[str, ...] = ()) -> Translated:
    return Translated(pattern, (positive,) if isinstance(positive, str) else positive, negatives, subjects)


SPACES = r"[\t-\r\x{1c}- \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"
NO_WORD = r"[^\p{L}\p{N}_]"
AFTER_LLAMA = ("model::llama", *(f"model::llama{next_one}" for next_one in "-s_1é²٣\u0301\n "))

TRANSLATED = (
    # Literal text, anchors and alternation
    _t("", r"\A(?:)"),
    _t("a|", r"\A(?:a|)"),
    _t("|a", r"\A(?:|a)"),
    _t("a||b", r"\A(?:a||b)"),
    _t("model::(llama|mistral)-.*", r"\A(?:model::(?:llama|mistral)-[^\n]*)", "model::mistral-7b", "xmodel::llama-1"),
    _t("^model::a", r"\A(?:model::a)", "x\nmodel::a"),
    _t("^a|b", r"\A(?:\Aa|b)", "xb"),
    _t(r"\Aa", r"\A(?:a)"),
    _t("a^b", r"\A(?:a\Ab)"),
    _t("a$", r"\A(?:a(?:\n?\z))", "ab"),
    _t("a$|b$", r"\A(?:a(?:\n?\z)|b(?:\n?\z))", "b\n", "b\n\n"),
    _t("(a|b$)(/.*)?$", r"\A(?:(?:a|b(?:\n?\z))(?:/[^\n]*)?(?:\n?\z))", "b\n", "b/x", "a/x\n"),
    _t("a$b?", r"\A(?:a(?:\n?\z)b?)"),
    _t("a$b", r"\A(?:a(?:\n?\z)b)"),
    _t(r"a$\Z", r"\A(?:a\z\z)"),
    _t("a$$", r"\A(?:a(?:\n?\z)(?:\n?\z))"),
    _t("(?:a$)*", r"\A(?:(?:a(?:\n?\z))*)"),
    _t(r"a\Z", r"\A(?:a\z)"),
    _t(r"a\Z|a\n", r"\A(?:a(?:\z|\n))"),
    _t("(?m)a$", r"\A(?:a(?m:$))", "a\nb", "ab"),
    _t("(?m)a\n^b", r"\A(?:a\n(?m:^)b)", "a\nb"),
    _t("(?m:^)a(?m:$)", r"\A(?:(?m:^)a(?m:$))", "a\nb"),
    # What a raw string of Rego can't hold, and what an engine could take for syntax
    _t("`", r"\A(?:\x{60})", "`"),
    _t("[`']", r"\A(?:['\x{60}])", "`", "'"),
    _t("\x00", r"\A(?:\x{0})"),
    _t("a\nb\tc\rd", r"\A(?:a\nb\tc\rd)", "a\nb\tc\rd"),
    _t("\x7f\x85\u2028\ufeff", r"\A(?:\x{7f}\x{85}\x{2028}\x{feff})", "\x7f\x85\u2028\ufeff"),
    _t("模型::é", r"\A(?:\x{6a21}\x{578b}::\x{e9})", "模型::é", "模型::e\u0301"),
    _t(r"\\Q\.\*\\E", r"\A(?:\\Q\.\*\\E)", r"\Q.*\E"),
    _t("a{,}b{x}{", r"\A(?:a*b\{x\}\{)", "b{x}{", "aab{x}{"),
    _t("[[:alpha:]]", r"\A(?:[:\[ahlp]\])", "a]", ":]", "[]", "z]"),
    _t("[]a]", r"\A(?:[\]a])", "]"),
    _t("[^]a]", r"\A(?:[^\]a])", "]"),
    _t("[a[b-]", r"\A(?:[\-\[ab])", "[", "-"),
    _t("[a&&b]", r"\A(?:[\&ab])", "&"),
    _t("[+--]", r"\A(?:[+-\-])", "+", ",", "-"),
    _t(r"[\]\-\\^]", r"\A(?:[\-\\-\^])", "]", "-", "\\", "^"),
    _t(r"[a-z0-9_.-]+", r"\A(?:[\-.0-9_a-z]+)", "a.b-c"),
    # Escapes
    _t(r"\x41\u0042\U00000043", r"\A(?:ABC)", "ABC"),
    _t(r"\N{BULLET}\N{DIGIT ONE}", r"\A(?:\x{2022}1)", "•1"),
    _t(r"\0\07\101\377", r"\A(?:\x{0}\x{7}A\x{ff})", "\x00\x07Aÿ"),
    _t(r"[\b\a\f\v]", r"\A(?:[\x{7}\x{8}\x{b}\x{c}])", "\x08", "\x0b", "b"),
    _t(r"(a)\141", r"\A(?:aa)"),
    # Classes
    _t(r"\d", r"\A(?:\p{Nd})", "٣", "५", "²", "Ⅷ", "①", "\U0001d7d8"),
    _t(r"\w", r"\A(?:[\p{L}\p{N}_])", "ß", "①", "一", "\u0301", "²", "-"),
    _t(r"\W", r"\A(?:[^\p{L}\p{N}_])", "ß", "-", "\u0301"),
    _t(r"\s", rf"\A(?:{SPACES})", "\x0b", "\x1c", "\x1f", "\x85", "\u3000", "\u200b", "\u180e"),
    _t(r"\S", rf"\A(?:[^{SPACES[1:]})", "\x1f", "\x0b"),
    _t(r"\D", r"\A(?:[^\p{Nd}])", "٣"),
    _t(r"[\w.-]", r"\A(?:[\p{L}\p{N}\-._])", ".", "-", "+"),
    _t(r"[^\W\d]", r"\A(?:[\p{L}\p{Nl}\p{No}_])", "٣", "²", "Ⅷ"),
    _t(r"[^\W_]", r"\A(?:[\p{L}\p{N}])"),
    _t(r"[\s\S]", r"\A(?:(?s:.))", "\x85", "😀"),
    _t(r"[^\s\S]", r"\A(?:[^\x00-\x{10ffff}])"),
    _t(".", r"\A(?:[^\n])", "\r", "\u2028", "😀"),
    _t("[^/]+/", r"\A(?:[^/]+/)", "a/b", "/"),
    _t("(?a)\\w\\d\\s", r"\A(?:[0-9A-Z_a-z][0-9][\t-\r ])", "a1 ", "é1 ", "a٣ ", "a1\x1c", "a1\x0b"),
    _t("(?a:\\d)\\d", r"\A(?:[0-9]\p{Nd})", "1٣", "٣1"),
    _t(r"(?a)\d(?u:\d)", r"\A(?:[0-9]\p{Nd})", "1٣", "٣1"),
    _t(r"(?a)(?!a)(?:\B|)", r"\A(?:\B|)", negatives=(r"\A(?:a)",)),
    _t(r"(?a)a\b", r"\A(?:a\b)", "a-", "aé", "ab"),
    _t(r"(?a)a\B", r"\A(?:a\B)", "a-", "ab"),
    # Word boundaries of Unicode
    _t(r"model::llama\b", rf"\A(?:model::llama(?:{NO_WORD}|\z))", *AFTER_LLAMA),
    _t(r"\bmodel", r"\A(?:model)", "émodel"),
    _t(r"\b-", r"\A(?:[^\x00-\x{10ffff}])", "-", "a-"),
    _t(r"é\b", rf"\A(?:\x{{e9}}(?:{NO_WORD}|\z))", "é-", "éa", "éé"),
    _t(r"a\b-\b$", r"\A(?:a-(?:\n?\z)[\p{L}\p{N}_])", "a-", "a-b", "a-\n"),
    _t(r"a-\b", r"\A(?:a-[\p{L}\p{N}_])", "a-", "a-é", "a-\n", "a--"),
    _t(r"a\B", r"\A(?:a[\p{L}\p{N}_])", "aé", "a-", "a_"),
    _t(r"a\b$", rf"\A(?:a(?:\n?\z)(?:{NO_WORD}|\z))", "a-"),
    _t(r"(?a:\b)model\b", rf"\A(?:\bmodel(?:{NO_WORD}|\z))", "modelé", "model-"),
    _t(
        r".*\bllama\b",
        rf"\A(?:[^\n]*[^\p{{L}}\p{{N}}\n_]llama(?:{NO_WORD}|\z)|llama(?:{NO_WORD}|\z))",
        *("my-llama", "myllama", "éllama", "ñ-llama-ñ", "llamas llama", "\nllama", "llama_"),
    ),
    _t(
        r"(?!.*\bsecret\b)",
        r"\A(?:)",
        *("a-secret", "a-secrets", "secret", "ésecret"),
        negatives=(rf"\A(?:[^\n]*[^\p{{L}}\p{{N}}\n_]secret(?:{NO_WORD}|\z)|secret(?:{NO_WORD}|\z))",),
    ),
    _t(r"(?:\ba ?){1,2}", r"\A(?:a ?|a a ?)", "a a", "aa", "aé"),
    # Case
    _t("(?i)ai", r"\A(?:[Aa][Ii\x{130}\x{131}])", "A\u0130", "a\u0131", "AI", "ái"),
    _t("(?i)ks", r"\A(?:[Kk\x{212a}][Ss\x{17f}])", "\u212a\u017f", "KS"),
    _t("(?ia)kis", r"\A(?:[Kk][Ii][Ss])", "\u212ais", "kİs", "KIS"),
    _t("(?i)[^k]", r"\A(?:[^Kk\x{212a}])", "\u212a", "K"),
    _t("(?i)\u03c3", r"\A(?:[\x{3a3}\x{3c2}\x{3c3}])", "\u03c2", "\u03a3", "\u03c3"),
    _t("(?i)ß", r"\A(?:[\x{df}\x{1e9e}])", "ẞ", "SS"),
    _t("(?i)[a-c]1", r"\A(?:[A-Ca-c]1)", "B1"),
    _t("(?i)𐐀", r"\A(?:[\x{10400}\x{10428}])", "𐐨"),
    _t("(?i:a)b", r"\A(?:[Aa]b)", "Ab", "AB"),
    _t("(?i)a(?-i:b)", r"\A(?:[Aa]b)", "Ab", "AB"),
    # Flags and what disappears
    _t("(?s).", r"\A(?:(?s:.))"),
    _t("(?s:.)(?-s:.)", r"\A(?:(?s:.)[^\n])", "\na", "a\n"),
    _t("(?x) a b # note $\n c\\ [ ]", r"\A(?:abc  )", "abc  ", "abc"),
    _t(r"a(?#note: (?<=x\))b", r"\A(?:ab)"),
    _t("(?P<größe>a)(?:b)", r"\A(?:ab)"),
    _t("(?u)a", r"\A(?:a)"),
    # Repetition
    _t("a{,2}b", r"\A(?:a{0,2}b)", "aab", "aaab", "a{,2}b"),
    _t("a{0}b{1}", r"\A(?:b)"),
    _t("a*?b+?c??", r"\A(?:a*b+c?)", "aab"),
    _t("(a|aa)+$", r"\A(?:(?:a(?:|a))+(?:\n?\z))", "a" * 25),
    _t("(?:ab)*", r"\A(?:(?:ab)*)"),
    _t("(?:a?)*", r"\A(?:(?:a?)*)"),
    _t("(?:a{2}){3}", r"\A(?:(?:a{2}){3})", "aaaaaa", "aaaaa"),
    _t("(?:^|b)*a", r"\A(?:(?:\A|b)*a)", "bba"),
    _t("a{1001}", r"\A(?:a{1000}a)", "a" * 1001, "a" * 1000),
    _t("a{2000,}", r"\A(?:a{1000}a{1000,})", "a" * 2000, "a" * 1999),
    _t("a{5,1500}b", r"\A(?:a{5}a{0,1000}a{0,495}b)", "a" * 1500 + "b", "a" * 1501 + "b", "aaaab"),
    _t("(?:a{100}){11}", r"\A(?:(?:a{100}){10}a{100})", "a" * 1100, "a" * 1099),
    _t("(?:ab{100}){11}", r"\A(?:(?:ab{100}){10}ab{100})", ("a" + "b" * 100) * 11, ("a" + "b" * 100) * 10),
    # Possessive and atomic parts at the end
    _t("a++", r"\A(?:a+)"),
    _t("b*+a?+", r"\A(?:b*a?)"),
    _t("(?>a|ab)", r"\A(?:a(?:|b))"),
    _t("(?>a|ab).*", r"\A(?:a(?:|b)[^\n]*)"),
    _t("(?>a|ab)(?:b*){2}", r"\A(?:a(?:|b)(?:b*){2})"),
    _t("(?>a|ab)(?:x|)", r"\A(?:a(?:|b)(?:x|))"),
    _t("(?:ab?)++", r"\A(?:(?:ab?)+)"),
    _t("(?:ab){2}+", r"\A(?:(?:ab){2})", "abab", "aba"),
    _t("x|a{2,3}+", r"\A(?:x|a{2,3})"),
    # Look-ahead
    _t("^(?!secret)model", r"\A(?:model)", "secret", negatives=(r"\A(?:secret)",)),
    _t(
        r"^model::(?!secret-)[\w.-]+$",
        r"\A(?:model::[\p{L}\p{N}\-._]+(?:\n?\z))",
        *("model::secret-1", "model::secret", "model::x\n", "model::x/y"),
        negatives=(r"\A(?:model::secret-)",),
    ),
    _t("(?!.*secret).*", r"\A(?:[^\n]*)", "a secret", "a\nsecret", negatives=(r"\A(?:[^\n]*secret)",)),
    _t("(?!a$)", r"\A(?:)", negatives=(r"\A(?:a(?:\n?\z))",)),
    _t("(?=.*b)a", (r"\A(?:a)", r"\A(?:[^\n]*b)"), "a-b", "a\nb"),
    _t("[ab](?=c)[a-d]", (r"\A(?:[ab][a-d])", r"\A(?:(?s:.)c)"), "ac", "bd", "bc"),
    _t("..(?!c)", r"\A(?:[^\n][^\n])", "abc", "abd", "ab", negatives=(r"\A(?:(?s:.){2}c)",)),
    _t("a(?=b)", r"\A(?:ab)", "ac"),
    _t(".*(?=b)", r"\A(?:[^\n]*b)", "aab", "a\nb"),
    _t("(?:x|a*(?=b))", r"\A(?:x|a*b)", "aab", "x"),
    _t("(?:(?=a).)$", (r"\A(?:[^\n](?:\n?\z))", r"\A(?:a)"), "a", "b"),
    _t("a(?=b(?!c))b.", (r"\A(?:ab[^\n])", r"\A(?:ab)"), "abc", "abd", "bc", negatives=(r"\A(?:abc)",)),
    _t("(?=a(?!b))a.", (r"\A(?:a[^\n])", r"\A(?:a)"), "ac", negatives=(r"\A(?:ab)",)),
    # Look-behind at the end
    _t(
        "model::.*(?<!-internal)$",
        r"\A(?:model::[^\n]*(?:\n?\z))",
        *("model::a-internal", "model::a-internal\n", "model::-internal-a", "model::a\n", "model::internal"),
        negatives=(r"\A(?:(?s:.)*-internal(?:\n?\z))",),
    ),
    _t("a.*(?<=b)$", (r"\A(?:a[^\n]*(?:\n?\z))", r"\A(?:(?s:.)*b(?:\n?\z))"), "aab", "ab\n", "abc"),
    _t(r"(?s)a.*(?<!\n)\Z", r"\A(?:a(?s:.)*\z)", "a\nb", negatives=(r"\A(?:(?s:.)*\n\z)",)),
    _t(
        "^(?!b).*(?<!c)(?<!dd)$",
        r"\A(?:[^\n]*(?:\n?\z))",
        *("bcd", "ac", "add", "ad", "dd\n"),
        negatives=(r"\A(?:b)", r"\A(?:(?s:.)*dd(?:\n?\z))", r"\A(?:(?s:.)*c(?:\n?\z))"),
    ),
    _t("(?<!a)$", r"\A(?:(?:\n?\z))", negatives=(r"\A(?:(?s:.)*a(?:\n?\z))",)),
    _t("(?!)", r"\A(?:[^\x00-\x{10ffff}])"),
    _t("(?=)a", (r"\A(?:a)", r"\A(?:)")),
)

REFUSED = (
    Refused(r"(a)\1", "back-reference", 3),
    Refused(r"(?P<n>a)(?P=n)", "back-reference", 8),
    Refused("(a)(?(1)b|c)", "conditional group", 3),
    Refused("(?<=a)b", "look-behind", 0),
    Refused(r"model::.*(?<!-internal)", "look-behind", 9),
    Refused(r"(?s)model::.*(?<!-internal)$", "look-behind", 13),
    Refused(r"(?m)model::.*(?<!-internal)$", "look-behind", 13),
    Refused(r".*(?<!\n)$", "look-behind", 2),
    Refused(r".*(?<!^)$", "look-behind", 2),
    Refused(r"(?:a|.*(?<!b)$)", "look-behind", 7),
    Refused(r".*(?<!(?=a).)$", "look-ahead", 6),
    Refused(r"(?:\ba)*", r"\b in a long repetition", 3),
    Refused(r"(?:a\B){2,5}", r"\B in a long repetition", 4),
    Refused(r"a*\b(?=b)", r"\b beside look-around, an atomic part or repeated anchors", 2),
    Refused(r"(?>a|ab)\b", r"\b beside look-around, an atomic part or repeated anchors", 8),
    Refused(r"a+(?:\B|b){2}", r"\B beside look-around, an atomic part or repeated anchors", 5),
    Refused(r"(?:^|a)*\b", r"\b beside look-around, an atomic part or repeated anchors", 8),
    Refused(r".\b" * 33, "more than 32 word boundaries", 97),
    Refused(r".\b." * 20, "a pattern that becomes too large"),
    Refused("a?" * 300 + r"\b", "a pattern that becomes too large"),
    Refused("a*(?=b)c", "look-ahead", 2),
    Refused("a*(?!b)", "look-ahead", 2),
    Refused("(?:a|bc)(?!d)e", "look-ahead", 8),
    Refused("(?:(?!secret).)*", "look-ahead", 3),
    Refused("(?!a)b|(?!c)d", "look-ahead", 0),
    Refused("x(?:a|(?=b)c)d", "look-ahead", 6),
    Refused("(?!(?!a)b)", "look-ahead", 3),
    Refused("a++b", "possessive quantifier", 1),
    Refused("(?:ab?){2}+", "possessive quantifier", 7),
    Refused("(?:a?+b)*", "possessive quantifier", 4),
    Refused("(?>a|ab)c", "atomic group", 0),
    Refused("(?:(?>a*)b)?", "atomic group", 3),
    Refused("(?:(?>a|ab)){2}", "atomic group", 3),
    Refused("a$\n", "$ before a part that can match there", 1),
    Refused(r"x(?:a$|b)\s", "$ before a part that can match there", 5),
    Refused("a$(?m:^)", "$ before a part that can match there", 1),
    Refused("(?:^|a$)^", "$ before a part that can match there", 6),
    Refused("(?:a$){2}", "$ in a counted repetition", 4),
    Refused("(?:$a|$b)\n|(?:$\n)", "$ before a part that can match there"),
    Refused("(?x) a # $ (?<=\n $ \\n", "$ before a part that can match there", 17),
    Refused(r"[$(?<=]\$(?#$)\\$\n", "$ before a part that can match there", 16),
    Refused("(?x:a # $\n)(?-x: #)$\n", "$ before a part that can match there", 19),
    Refused("a{20001}", "a repetition that becomes too large", 1),
    Refused("b+(?:a{1000}){1000}", "a repetition that becomes too large", 13),
    Refused("a{0,4294967294}", "a repetition that becomes too large", 1),
    Refused(".{10000}.{10000}", "a pattern that becomes too large"),
    Refused("a(?!b)" * 1000, "a pattern that becomes too large"),
    Refused(r"\ud800", "lone surrogate"),
    Refused("[\udfff]", "lone surrogate"),
    Refused("a" * 8193, "a pattern of more than 8,192 characters"),
    Refused("x" * 100_000, "a pattern of more than 8,192 characters"),
    Refused("(" * 201 + ")" * 201, "nesting of more than 200 groups"),
    Refused("(" * 4000 + ")" * 4000, "nesting of more than 200 groups"),
    # Go's dialect and other mistakes, which Python doesn't take; nothing of them may reach OPA.
    Refused("a(?i)b", "a pattern that Python refuses (global flags not at the start of the expression)", 1),
    Refused(r"\p{L}", r"a pattern that Python refuses (bad escape \p)", 0),
    Refused(r"a\Q.\E", r"a pattern that Python refuses (bad escape \Q)", 1),
    Refused("(?<n>a)", "a pattern that Python refuses (unknown extension ?<n)", 1),
    Refused("(?U)a", "a pattern that Python refuses (unknown extension ?U)", 1),
    Refused("[z-a]", "a pattern that Python refuses (bad character range z-a)", 1),
    Refused("a**", "a pattern that Python refuses (multiple repeat)", 2),
    Refused("(?<=a*)b", "a pattern that Python refuses (look-behind requires fixed-width pattern)"),
    Refused("(", "a pattern that Python refuses (missing ), unterminated subpattern)", 0),
    Refused("a{99999999999}", "a pattern that Python fails on (the repetition number is too large)"),
)
