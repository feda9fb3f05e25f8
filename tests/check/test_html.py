"""The summary page, as a browser shows it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from pvboot.check.html_report import LISTED, html_report
from pvboot.check.model import Finding, SourceResult
from tests.check.fleets import BAD_MENU, MENU, RESULTS, make_guest

RunCli = Callable[..., "subprocess.CompletedProcess[Any]"]

HOSTILE = [
    "<script>document.title='taken'</script>",
    "<img src=x onerror=\"document.title='taken'\">",
    "\"><svg onload=document.title='taken'>",
    "'-document.title='taken'-'",
    "</script></style><b id=taken>",
    "&lt;&amp;",
    "\u202egpj.exe",
    "\x00\x1b[2J\udcff",
    "javascript:alert(1)",
]
FLEET = [
    *RESULTS,
    *(
        SourceResult(
            f"{text}.img",
            (Finding("duplicate-title", "warning", text, f"{MENU}{text}", 2, 1, 3),),
            None,
            (MENU,),
            {MENU: (text,)},
            {(f"{MENU}{text}", 2): f"title {text}"},
        )
        for text in HOSTILE
    ),
    *(replace(RESULTS[2], source=f"guest-{number}.img") for number in (10, 9, 100)),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    """Chromium without a window and without the network."""
    options = webdriver.ChromeOptions()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1300,1000",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ):
        options.add_argument(argument)
    options.binary_location = "/usr/bin/chromium"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: webdriver.Chrome, tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """The page of `FLEET`; whatever a test does there, the browser has nothing to complain about."""
    path = tmp_path / "fleet.html"
    path.write_text(html_report(FLEET), encoding="utf-8")
    browser.get(path.as_uri())
    yield browser
    assert browser.get_log("browser") == []
    assert browser.title == "pvboot check"


def visible(page: webdriver.Chrome, table: str = "sources") -> list[str]:
    """The first cells of the rows that are shown, in order."""
    rows = page.find_elements(By.CSS_SELECTOR, f"#{table} tbody:not([hidden]) > tr:first-child > td:first-child")
    return [str(row.get_dom_attribute("data-key")) for row in rows]


def press(page: webdriver.Chrome, table: str, column: str) -> None:
    heads = page.find_elements(By.CSS_SELECTOR, f"#{table} th button")
    next(head for head in heads if head.text.startswith(column)).click()


def column(page: webdriver.Chrome, number: int, table: str = "sources") -> list[str]:
    cells = page.find_elements(By.CSS_SELECTOR, f"#{table} tbody > tr:first-child > td:nth-child({number})")
    return [cell.text for cell in cells]


def test_everything_is_shown_at_first(page: webdriver.Chrome) -> None:
    assert len(visible(page)) == len(FLEET)
    assert page.find_element(By.ID, "shown").text == f"{len(FLEET)} of {len(FLEET)} sources"
    cards = {
        card.text.split("\n")[1]: int(card.text.split("\n")[0])
        for card in page.find_elements(By.CSS_SELECTOR, ".cards li")
    }
    assert cards == {"sources": len(FLEET), "errors": 2, "warnings": 1 + len(HOSTILE), "note": 1}


def test_a_column_of_names_sorts_both_ways_and_numbers_by_value(page: webdriver.Chrome) -> None:
    press(page, "sources", "Source")
    names = [name for name in visible(page) if name.startswith("guest-")]
    assert names == ["guest-9.img", "guest-10.img", "guest-100.img"]
    press(page, "sources", "Source")
    assert [name for name in visible(page) if name.startswith("guest-")] == names[::-1]


def test_a_column_of_numbers_shows_the_greatest_first(page: webdriver.Chrome) -> None:
    press(page, "sources", "Errors")
    assert column(page, 3)[:3] == ["1", "1", "0"]
    head = page.find_element(By.CSS_SELECTOR, "#sources th[aria-sort]")
    assert head.get_dom_attribute("aria-sort") == "descending"
    press(page, "sources", "Errors")
    assert column(page, 3)[-3:] == ["0", "1", "1"]


def test_outcomes_sort_by_gravity_and_not_by_name(page: webdriver.Chrome) -> None:
    press(page, "sources", "Outcome")
    words = list(dict.fromkeys(column(page, 2)))
    assert words == ["not checked", "errors", "warnings", "nothing found"]


def test_the_table_of_rules_sorts(page: webdriver.Chrome) -> None:
    press(page, "rules", "Findings")
    assert column(page, 1, "rules")[0] == "duplicate-title"
    press(page, "rules", "Rule")
    assert column(page, 1, "rules") == sorted(column(page, 1, "rules"))


def test_the_search_filters(page: webdriver.Chrome) -> None:
    search = page.find_element(By.ID, "search")
    search.send_keys("A B.IMG")
    assert visible(page) == ["images/a b.img"]
    search.clear()
    search.send_keys("the entry has no command")  # in a message, though it is folded away
    assert visible(page) == ["menu.lst"]
    assert page.find_element(By.ID, "shown").text == f"1 of {len(FLEET)} sources"


def test_outcome_and_rule_filter_together(page: webdriver.Chrome) -> None:
    choose(page, "outcome", "errors", ["images/a b.img", "menu.lst"])
    choose(page, "rule", "empty-entry", ["menu.lst"])
    choose(page, "outcome", "not checked", [])


def choose(page: webdriver.Chrome, control: str, text: str, expected: list[str]) -> None:
    """Choose from a list; the browser tells the page a moment later."""
    Select(page.find_element(By.ID, control)).select_by_visible_text(text)
    WebDriverWait(page, 20).until(lambda _page: visible(page) == expected)


def test_a_press_on_a_rule_shows_its_sources_and_only_its_findings(page: webdriver.Chrome) -> None:
    page.find_element(By.CSS_SELECTOR, "button.rule[data-rule=crlf-line-ends]").click()
    assert visible(page) == ["images/a b.img"]
    page.find_element(By.CSS_SELECTOR, "#sources tbody:not([hidden]) button.open").click()
    shown = [item for item in page.find_elements(By.CSS_SELECTOR, ".findings li") if item.is_displayed()]
    assert [item.get_dom_attribute("data-rule") for item in shown] == ["crlf-line-ends"]


def test_a_source_opens_and_closes(page: webdriver.Chrome) -> None:
    button = page.find_element(By.CSS_SELECTOR, "button.open")
    more = page.find_element(By.CSS_SELECTOR, "tr.more")
    assert not more.is_displayed() and button.get_dom_attribute("aria-expanded") == "false"
    button.click()
    assert more.is_displayed() and button.get_dom_attribute("aria-expanded") == "true"
    assert "default is 7, entries are 0 to 1" in more.text
    assert "default 7 <img src=x onerror=alert(1)>" in more.text
    button.click()
    assert not more.is_displayed()


def test_hostile_names_stay_text(page: webdriver.Chrome) -> None:
    for button in page.find_elements(By.CSS_SELECTOR, "button.open"):
        button.click()
    text = page.find_element(By.TAG_NAME, "body").text
    for name in HOSTILE[:6]:
        assert f"{name}.img" in text
    assert "\\u202egpj.exe" in text and "\\x00\\x1b[2J\\xff" in text
    assert page.find_elements(By.CSS_SELECTOR, "img, a, iframe, #taken") == []
    assert len(page.find_elements(By.TAG_NAME, "script")) == 1


def test_the_policy_stops_even_what_got_in(browser: webdriver.Chrome, tmp_path: Path) -> None:
    """The second wall: a script that stood in the page would not run."""
    path = tmp_path / "fleet.html"
    markup = html_report(FLEET).replace("<h1>", "<script>document.title='taken'</script><h1>", 1)
    path.write_text(markup, encoding="utf-8")
    browser.get(path.as_uri())
    assert browser.title == "pvboot check"
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


def test_without_scripts_everything_stands_open(browser: webdriver.Chrome, tmp_path: Path) -> None:
    path = tmp_path / "fleet.html"
    path.write_text(re.sub(r"<script>.*?</script>", "", html_report(FLEET), flags=re.DOTALL), encoding="utf-8")
    browser.get(path.as_uri())
    assert all(row.is_displayed() for row in browser.find_elements(By.CSS_SELECTOR, "tr.more"))


# --- without a browser ------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """Every start tag and its attributes, and whether tags are closed in order."""

    EMPTY = frozenset({"meta", "link", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    elements = Elements()
    elements.feed(html_report(FLEET))
    assert elements.open == []
    for tag, attributes in elements.found:
        assert not {"src", "style", "action", "srcset"} & set(attributes), tag
        assert not any(name.startswith("on") for name in attributes), tag
        assert attributes.get("href", "data:,") == "data:,"
    text = html_report(FLEET)
    assert "url(" not in text and "@import" not in text and "innerHTML" not in text


def test_the_page_is_the_same_every_time() -> None:
    assert html_report(FLEET) == html_report(FLEET)


def test_a_source_with_very_many_findings_is_cut() -> None:
    finding = RESULTS[1].findings[0]
    many = replace(RESULTS[1], findings=tuple(replace(finding, line=line) for line in range(1, LISTED + 51)))
    text = html_report([many])
    assert text.count('data-rule="empty-entry"><p') == LISTED
    assert "and 50 more" in text and f">{LISTED + 50}</td>" in text


def test_no_source_makes_a_page_too() -> None:
    assert "0 sources" in html_report([])


def test_the_option_writes_the_page(run_cli: RunCli, tmp_path: Path) -> None:
    guest = make_guest(tmp_path / "a.img", BAD_MENU)
    done = run_cli("check", "--html", tmp_path / "page.html", guest)
    assert done.returncode == 1 and "crlf-line-ends" in done.stdout
    assert "crlf-line-ends" in (tmp_path / "page.html").read_text()
    done = run_cli("check", "--html", tmp_path / "no" / "page.html", guest)
    assert done.returncode == 2 and "cannot be written" in done.stderr and done.stdout == ""
