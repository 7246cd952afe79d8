"""`ostiary policy matrix`: who may do what, decided by a real OPA, as text, CSV, HTML and JSON."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from policy.source.diagnostics import quoted
from tests.support.command_line import EXAMPLE, ROOT, ostiary

Cells = dict[tuple[str, str, str], str]
"""`yes`, `no` or the owners for which it is permitted, by caller, verb and pattern."""

ANYONE = "any authenticated user"


def decisions(config: Path) -> list[dict[str, Any]]:
    done = ostiary("matrix", config, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["decisions"]
    return found


def cells(config: Path) -> Cells:
    by_cell: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in decisions(config):
        by_cell.setdefault((one["caller"], one["verb"], one["pattern"]), []).append(one)
    return {key: _cell(entries) for key, entries in by_cell.items()}


def _cell(entries: list[dict[str, Any]]) -> str:
    permitted = [entry["owner"] for entry in entries if entry["decision"] == "permit"]
    if len(permitted) in (0, len(entries)):
        return "yes" if permitted else "no"
    return " ".join(permitted)


def config_of(folder: Path, access: list[Any] | None = None, **auth: Any) -> Path:
    path = folder / "config.yaml"
    section = {"provider_config": {"type": "custom"}, **auth}
    if access is not None:
        section["access_policy"] = access
    path.write_text(yaml.safe_dump({"server": {"auth": section}}, sort_keys=False))
    return path


def spec(name: str, folder: Path) -> Path:
    written = yaml.safe_load((ROOT / "tests" / "conformance" / f"{name}.yaml").read_text())["config"]
    path = folder / "config.yaml"
    path.write_text(written if isinstance(written, str) else yaml.safe_dump(written, sort_keys=False))
    return path


def test_the_example_as_a_table() -> None:
    found = cells(EXAMPLE / "config.yaml")
    research, both = "regex:model::(.*/)?research-", "user with developer in roles and research in teams"
    assert {caller for caller, *_ in found} == {
        "anonymous",
        ANYONE,
        "user with developer in roles",
        "user with admin in roles",
        "user with research in teams",
        both,
    }
    assert [caller for (caller, verb, pattern), text in found.items() if pattern == research and text != "no"] == [both]
    assert found[ANYONE, "read", "model::assistant"] == "yes"
    assert found[ANYONE, "read", "model::*"] == "no"
    assert found["user with developer in roles", "read", "model::*"] == "yes"
    assert found["user with developer in roles", "POST", "/v1/chat/completions"] == "yes"
    assert found[ANYONE, "POST", "/v1/chat/completions"] == "no"
    assert found["anonymous", "GET", "/v1/health"] == "yes"
    assert found["anonymous", "GET", "/v1/models"] == "no"
    assert found["user with admin in roles", "GET", "*"] == "yes"


def test_owners_make_a_difference(tmp_path: Path) -> None:
    found = cells(spec("spec-P3-owners-and-teams", tmp_path))
    admin = "user with admin in roles"
    assert [found[ANYONE, verb, "*"] for verb in ("create", "read", "update", "delete")] == [
        "yes",
        "own same teams",
        "no",
        "own",
    ]
    assert [found[admin, verb, "model::*"] for verb in ("create", "read", "update", "delete")] == [
        "yes",
        "yes",
        "no",
        "own",
    ]
    assert [found[ANYONE, verb, "model::*"] for verb in ("create", "delete")] == ["no", "no"]
    isolated = cells(spec("spec-P5-isolation-by-owner", tmp_path))
    files = "sql_record::openai_files::*"
    assert [isolated[ANYONE, verb, files] for verb in ("create", "read", "update", "delete")] == [
        "yes",
        "own",
        "no",
        "own",
    ]


def test_the_default_policy_as_a_table(tmp_path: Path) -> None:
    found = cells(config_of(tmp_path))
    assert [found[ANYONE, verb, "*"] for verb in ("create", "read", "update", "delete")] == [
        "yes",
        "config own",
        "own",
        "own",
    ]
    assert {text for (caller, *_), text in found.items() if caller == "anonymous"} == {"no"}


def test_named_principals_and_groups_of_attributes_are_callers_of_their_own(tmp_path: Path) -> None:
    rules = [
        {"permit": {"actions": "read", "principal": "ann"}, "when": "user with a in roles"},
        {
            "permit": {"actions": "delete"},
            "when": ["user with a in roles", 'user with "b c" in teams', "user is owner"],
        },
        {"forbid": {"actions": "update"}, "when": "user with a in roles"},
        {"permit": {"actions": "update"}, "when": "user with d in roles"},
    ]
    found = cells(config_of(tmp_path, rules))
    group = 'user with a in roles and "b c" in teams'
    assert found["principal ann", "read", "*"] == "no"
    assert found["principal ann, user with a in roles", "read", "*"] == "yes"
    assert (found["user with a in roles", "delete", "*"], found[group, "delete", "*"]) == ("no", "own")
    # Shown because together they may do less than each alone; the other pairs add up.
    assert found["user with d in roles", "update", "*"] == "yes"
    assert found["user with a in roles and d in roles", "update", "*"] == "no"
    assert 'user with "b c" in teams and d in roles' not in {caller for caller, *_ in found}


def test_every_entry_names_the_rule_and_what_was_asked(tmp_path: Path) -> None:
    entry = next(
        one
        for one in decisions(spec("spec-P5-isolation-by-owner", tmp_path))
        if one["verb"] == "delete" and one["owner"] == "own"
    )
    assert entry == {
        "caller": ANYONE,
        "about": "resource",
        "verb": "delete",
        "pattern": "model::*",
        "asked": "model::example",
        "owner": "own",
        "decision": "deny",
        "rule": None,
        "source": None,
    }


def test_the_terminal_shows_one_table_for_each_pattern_and_numbered_routes() -> None:
    shown = ostiary("matrix", EXAMPLE / "config.yaml").stdout
    assert "model::*  (asked about model::example)\n" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert ["caller", "create", "read", "update", "delete"] in lines
    assert ["user", "with", "admin", "in", "roles", "no", "yes", "no", "no"] in lines
    assert "  9  POST /v1/chat/completions\n" in shown
    assert ["anonymous", "yes", "no", "yes", *["no"] * 9] in lines
    assert "\x1b" not in shown


def test_csv_has_a_line_for_each_caller_and_no_formulas(tmp_path: Path) -> None:
    rules = [
        {"permit": {"actions": "read", "principal": "=cmd()", "resource": "model::*"}, "when": "user with +1 in @x"}
    ]
    target = tmp_path / "table.csv"
    done = ostiary("matrix", config_of(tmp_path, rules), "--csv", target)
    assert (done.returncode, done.stdout) == (0, "")
    with target.open(newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["caller", "create model::*", "read model::*", "update model::*", "delete model::*"]
    assert table[-1] == ["principal =cmd(), user with +1 in @x", "no", "yes", "no", "no"]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in table for cell in row)


class Page(HTMLParser):
    """What a page consists of: its tags, its attributes and the text of its cells."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_html_is_one_page_that_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\"'&"
    rules = [
        {"permit": {"actions": "read", "principal": hostile}, "description": hostile},
        {"permit": {"actions": "read", "resource": f"model::{hostile}"}, "when": f"user with {hostile} in roles"},
    ]
    target = tmp_path / "table.html"
    routes = [{"permit": {"paths": [f"/v1/{hostile}", "/v1/b"], "methods": ["GET", "POST"]}}]
    done = ostiary("matrix", config_of(tmp_path, rules, route_policy=routes), "--html", target)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    page = Page()
    page.feed(target.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    assert {"table", "th", "td", "style"} <= set(page.tags)
    assert not {"script", "link", "img", "iframe", "a"} & set(page.tags)
    assert {name for name, _ in page.attributes} <= {
        "lang",
        "charset",
        "name",
        "content",
        "class",
        "title",
        "rowspan",
        "colspan",
        "scope",
    }
    assert f"principal {hostile}" in page.texts
    assert f"model::{hostile}" in page.texts
    assert f"/v1/{hostile}" in page.texts
    assert any(
        name == "title" and (text or "").startswith("access_policy[0] (config.yaml:") for name, text in page.attributes
    )


def test_what_has_no_sample_is_listed_and_the_rest_is_shown(tmp_path: Path) -> None:
    rules = [{"permit": {"actions": "read", "resource": text}} for text in ("regex:file::.*", "regex:(", "model::*")]
    path = config_of(tmp_path, rules, route_policy=[{"permit": {"paths": ["regex:v1", "/v1/a"]}}])
    shown = json.loads(ostiary("matrix", path, "--json").stdout)
    assert shown["left_out"] == [
        "regex:file::.*: no resource was found that it matches",
        "regex:(: it never matches",
        "regex:v1: no path was found that it matches",
    ]
    assert {one["pattern"] for one in shown["decisions"]} == {"model::*", "/v1/a"}
    assert "not shown: regex:file::.*: no resource was found" in ostiary("matrix", path).stdout


def test_with_authentication_off_the_table_says_so(tmp_path: Path) -> None:
    path = config_of(tmp_path, [{"permit": {"actions": "read"}}], provider_config=None)
    assert (
        "authentication is off: every access question of an anonymous caller is permitted"
        in ostiary("matrix", path).stdout
    )
    assert cells(path)["anonymous", "delete", "*"] == "yes"


@pytest.mark.parametrize("what", ["patterns", "callers"])
def test_a_table_that_would_be_of_no_use_is_refused(tmp_path: Path, what: str) -> None:
    rules = [
        {"permit": {"actions": "read", "resource": f"model::m{number if what == 'patterns' else number % 150}"}}
        | {"when": f"user with {number} in roles"}
        for number in range(201)
    ]
    done = ostiary("matrix", config_of(tmp_path, rules))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the ")
    assert "ask `ostiary policy decide` instead" in done.stderr


def test_too_many_pairs_are_left_out_and_said_to_be(tmp_path: Path) -> None:
    rules = [{"permit": {"actions": "read", "resource": f"model::m{number}"}} for number in range(20)]
    rules = [rule | {"when": f"user with {number} in roles"} for number, rule in enumerate(rules * 2)]
    shown = json.loads(ostiary("matrix", config_of(tmp_path, rules), "--json").stdout)
    assert shown["left_out"] == ["callers with two attributes at once: there are too many of them"]
    assert len(shown["callers"]) == 42


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    done = ostiary("matrix", EXAMPLE / "config.yaml", "--html", tmp_path / "no" / "table.html")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: cannot write {quoted(f'{tmp_path}/no/table.html')}: No such file or directory\n"
