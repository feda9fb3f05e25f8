"""The web page in a real browser (headless Chromium)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.serve.state.helpers import CONFIG, MAC, Served, ask, call, read, who

HOSTILE = "<img src=x onerror=document.title='owned'>"
HOSTILE_PATH = "/<script>document.title='owned'<\\script>"
Browser = webdriver.Chrome


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    arguments = "headless=new no-sandbox disable-gpu disable-dev-shm-usage window-size=1280,1100 no-first-run"
    for argument in (*arguments.split(), "disable-background-networking"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture
def page(state: Served, browser: Browser) -> Iterator[Browser]:
    browser.get(f"http://127.0.0.1:{state.port}/ui/")
    wait(browser, lambda: "version" in browser.find_element(By.ID, "about").text)
    browser.get_log("browser")  # type: ignore[no-untyped-call]
    yield browser
    said = browser.get_log("browser")  # type: ignore[no-untyped-call]
    browser.get("about:blank")
    assert said == []


def wait(browser: Browser, condition: Callable[[], Any]) -> None:
    WebDriverWait(browser, 60, 0.1).until(lambda _: condition())


def table(browser: Browser, name: str) -> str:
    """The text of a table, read in one go: its rows are replaced while we look."""
    return str(browser.execute_script(f"return document.getElementById('{name}').tBodies[0].innerText"))  # type: ignore[no-untyped-call]


def test_page_lists_clients_profiles_and_boots(page: Browser, state: Served) -> None:
    read(state, f"/boot/menu.lst.{MAC}", who())
    wait(page, lambda: "menu-given" in table(page, "boots"))
    assert MAC in table(page, "clients") and "disabled" in table(page, "clients")
    assert "/debian/vmlinuz" in table(page, "profiles")


def type_token(page: Browser, token: str) -> None:
    page.find_element(By.ID, "token").clear()
    page.find_element(By.ID, "token").send_keys(token)
    wait(page, lambda: "web" in table(page, "clients"))


def test_next_boot_is_set_seen_and_cleared(page: Browser, state: Served) -> None:
    type_token(page, CONFIG["api"]["write_token"])
    row = page.find_element(By.XPATH, "//table[@id='clients']//tr[td/strong='web']")
    Select(row.find_element(By.TAG_NAME, "select")).select_by_value("rescue")
    row.find_element(By.XPATH, ".//button[text()='Boot once']").click()
    wait(page, lambda: "Clear" in table(page, "clients"))
    assert ask(state, "GET", "/api/v1/clients/web/next-boot")[1]["profile"] == "rescue"
    assert "once" in table(page, "clients")
    page.find_element(By.XPATH, "//table[@id='clients']//button[text()='Clear']").click()
    wait(page, lambda: "Clear" not in table(page, "clients"))
    assert ask(state, "GET", "/api/v1/clients/web/next-boot")[0] == 404


def test_menus_of_a_profile_are_shown(page: Browser) -> None:
    page.find_element(By.XPATH, "//table[@id='profiles']//tr[td/strong='debian']//button").click()
    wait(page, lambda: "kernel (nd)/debian/vmlinuz quiet" in page.find_element(By.ID, "menu").text)


def test_transfer_moves(page: Browser, state: Served) -> None:
    size = 10 << 20
    number = state.journal.begin(who(), "/debian/initrd", size)
    state.journal.advance(number, size // 4)
    wait(page, lambda: "25 %" in table(page, "transfers"))
    state.journal.advance(number, size // 2)
    wait(page, lambda: "50 %" in table(page, "transfers"))
    state.journal.end(number, "done", size)
    wait(page, lambda: "done" in table(page, "transfers") and "%" not in table(page, "transfers"))


def test_hostile_names_stay_text(page: Browser, state: Served) -> None:
    assert ask(state, "PUT", f"/api/v1/clients/{HOSTILE}", {"hostname": "h", "note": HOSTILE})[0] == 201
    state.journal.begin(who(), HOSTILE_PATH, 100)
    wait(page, lambda: table(page, "clients").count(HOSTILE) == 2 and HOSTILE_PATH in table(page, "transfers"))
    assert page.title == "pvboot serve"
    assert page.find_elements(By.TAG_NAME, "img") == []


def test_page_allows_no_foreign_or_inline_code(state: Served) -> None:
    answer = call(state, "GET", "/ui", token=False)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert b"http:" not in answer.body and b"https:" not in answer.body


@pytest.mark.parametrize(("path", "status"), [("/ui/page.js", 200), ("/ui/page.css", 200), ("/ui/other", 404)])
def test_files_of_the_page(path: str, status: int, state: Served) -> None:
    answer = call(state, "GET", path, token=False)
    assert answer.status == status
    if status == 200:
        assert call(state, "GET", path, headers={"if-none-match": answer.headers["ETag"]}).status == 304


def test_wrong_token_is_reported(page: Browser) -> None:
    type_token(page, "wrong")
    page.find_element(By.XPATH, "//table[@id='clients']//tr[td/strong='web']//button").click()
    wait(page, lambda: "the token is wrong" in page.find_element(By.ID, "trouble").text)
    # Chromium reports every status above 399 by itself.
    assert ["401" in one["message"] for one in page.get_log("browser")] == [True]  # type: ignore[no-untyped-call]
