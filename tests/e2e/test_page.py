"""The HTML report in a real browser: Debian's chromium, driven by playwright."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from matrix.cell import Cell, Contradiction, Item, Report, StackSummary, TargetSummary
from matrix.vocabulary import Environment, Machine
from reports import html

pytestmark = pytest.mark.e2e

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">|`[red]"
VERSIONS = ("0.33.0", "0.32.0", "0.31.0", "0.30.0")
TARGETS: dict[str, tuple[Machine, ...]] = {
    "sm100": ("x86_64", "aarch64"),
    "sm120": ("x86_64",),
    "sm121": ("aarch64",),
}
ENVIRONMENTS: tuple[Environment, ...] = ("slim", "devel")


def cell(
    stack: str, target: str, machine: Machine, environment: Environment, capability: str
) -> Cell:
    broken = target == "sm121" and stack != "vllm==0.33.0" and environment == "slim"
    return Cell(
        stack=stack,
        target=target,
        machine=machine,
        environment=environment,
        capability=capability,
        declared="yes",
        compiled="no" if broken else "yes",
        selected="not_asked",
        executed="",
        verdict="broken" if broken else "likely",
        reason="no_kernel_image" if broken else "",
        evidence=(
            Item(
                kind="gate", name=HOSTILE, answer="yes", text=f"Read for {stack}.", where="a.py:1"
            ),
            Item(kind="defect", name="d", answer="no", where="javascript:alert(1)"),
        ),
    )


def build() -> Report:
    names = [*(f"vllm=={version}" for version in VERSIONS), HOSTILE]
    return Report(
        generated="2026-11-21T03:00:00Z",
        targets=tuple(
            TargetSummary(
                name=name,
                compute_capability=f"{name[2:-1]}.{name[-1]}",
                machines=machines,
                products=(f"product of {name}",),
            )
            for name, machines in TARGETS.items()
        ),
        stacks=tuple(
            StackSummary(
                name=name,
                package="vllm",
                version=name.partition("==")[2],
                machines=("x86_64", "aarch64"),
                pins={"aarch64": {"torch": "2.11.0"}},
            )
            for name in names
        ),
        cells=tuple(
            cell(name, target, machine, environment, capability)
            for name in names
            for target, machines in TARGETS.items()
            for machine in machines
            for environment in ENVIRONMENTS
            for capability in ("gemm", "moe")
        ),
        contradictions=(
            Contradiction(
                kind="declared-not-compiled",
                stack="vllm==0.32.0",
                target="sm121",
                machine="aarch64",
                capability="gemm",
                text="Declared, and no kernel is there.",
                read=("vllm/_C.abi3.so: sm_100a",),
            ),
        ),
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "matrix.html"
    file.write_text(html.render(build()), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """An open page; any console error, exception or network request fails its test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url))
    page.goto(address)
    problems.remove(address)
    yield page
    loaded = [problem for problem in problems if not problem.startswith((address, "data:"))]
    context.close()
    assert loaded == []


def rows(page: Page) -> list[str]:
    return page.locator("#scroll tbody th .range").all_text_contents()


def test_equal_releases_are_one_row_that_opens_into_single_ones(page: Page) -> None:
    assert rows(page) == ["0.33.0", "0.30.0 \u2013 0.32.0", HOSTILE]
    page.get_by_role("button", name="0.30.0").click()
    assert rows(page)[1:5] == ["0.30.0 \u2013 0.32.0", "0.32.0", "0.31.0", "0.30.0"]
    expect(page.get_by_role("button", name="0.30.0")).to_be_focused()


def test_a_hostile_stack_name_is_text(page: Page) -> None:
    expect(page.locator("#scroll").get_by_text(HOSTILE)).to_be_visible()
    assert page.title() == "NVFP4 matrix"
    assert page.locator("img").count() == 0


def test_filters_change_what_is_shown(page: Page) -> None:
    page.locator("#filters").get_by_label("Stack").fill("0.33")
    assert rows(page) == ["0.33.0"]
    page.get_by_role("button", name="Reset").click()
    page.locator("#filters").get_by_label("Verdict").select_option("broken")
    assert rows(page) == ["0.30.0 \u2013 0.32.0", HOSTILE]
    page.locator("#filters").get_by_label("Environment").select_option("devel")
    expect(page.locator("#status")).to_have_text("Nothing matches these filters.")
    page.get_by_role("button", name="Reset").click()
    page.locator("#filters").get_by_label("Target").select_option("sm120")
    assert rows(page) == ["0.30.0 \u2013 0.33.0", HOSTILE]
    page.locator("#filters").get_by_label("Machine").select_option("aarch64")
    assert rows(page) == []


def test_a_cell_opens_its_evidence_by_mouse_and_escape_returns_the_focus(page: Page) -> None:
    target = page.locator("#scroll td.cell[aria-label*='sm121']").first
    target.click()
    panel = page.get_by_role("dialog")
    expect(panel).to_be_visible()
    expect(panel).to_contain_text("Read for vllm==0.33.0.")
    expect(panel).to_contain_text(HOSTILE)
    expect(panel).to_contain_text("2.11.0")
    assert panel.locator("a[href^='javascript']").count() == 0
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(target).to_be_focused()


def test_a_cell_opens_its_evidence_by_keyboard(page: Page) -> None:
    page.locator("#scroll td.cell[tabindex='0']").focus()
    for key in ("ArrowDown", "ArrowRight", "End"):
        page.keyboard.press(key)
    expect(page.locator(":focus")).to_have_attribute("aria-label", re.compile("sm121.*broken"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("no kernel image")
    page.get_by_role("button", name="Show devel").click()
    expect(page.get_by_role("dialog")).to_contain_text("aarch64, devel")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert page.locator("#scroll [tabindex='0']").count() == 1


def test_only_one_cell_is_in_the_tab_order(page: Page) -> None:
    page.locator("#scroll td.cell[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#scroll [tabindex='0']").count() == 1


def test_the_address_restores_filters_tab_and_open_cell(page: Page, address: str) -> None:
    page.get_by_role("tab", name="moe").click()
    page.locator("#filters").get_by_label("Target").select_option("sm121")
    page.locator("#scroll td.cell").nth(1).click()
    kept = page.url
    page.goto("about:blank")
    page.goto(kept)
    expect(page.get_by_role("tab", name="moe", include_hidden=True)).to_have_attribute(
        "aria-selected", "true"
    )
    expect(page.get_by_role("dialog")).to_contain_text("moe on sm121")
    page.keyboard.press("Escape")
    expect(page.locator("#filters").get_by_label("Target")).to_have_value("sm121")
    assert page.url.startswith(address)


def test_a_damaged_address_falls_back_to_the_defaults(page: Page, address: str) -> None:
    page.goto(address + "#capability=none&target=%00&cell=a%2Fb&verdict=%E0%A4%A")
    assert len(rows(page)) == 3
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_history_tiles_say_their_verdict_and_open_the_same_evidence(page: Page) -> None:
    tile = page.locator("#history i[title*='0.31.0, sm121 aarch64: broken']")
    tile.click()
    expect(page.get_by_role("dialog")).to_contain_text("Read for vllm==0.31.0.")


def test_a_contradiction_is_copied_as_text(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    text = page.evaluate("navigator.clipboard.readText()")
    assert "Declared, and no kernel is there." in text
    assert "- vllm/_C.abi3.so: sm_100a" in text


@pytest.mark.parametrize("width", [320, 400, 768])
def test_a_narrow_window_has_no_horizontal_page_scroll(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#scroll td.cell").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_dark_mode_looks_different(page: Page) -> None:
    light = page.screenshot()
    page.emulate_media(color_scheme="dark")
    assert page.screenshot() != light
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 21, 23)"


CONTRAST = """() => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const parse = (text) => text.match(/[0-9.]+/g).map(Number);
  const ground = (node) => { for (; node; node = node.parentElement) { const c = parse(getComputedStyle(node).backgroundColor); if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
  const bad = new Set();
  for (const node of document.querySelectorAll("body *")) {
    if (!node.checkVisibility() || ![...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.add(`${node.tagName}.${node.className} ${ratio.toFixed(2)}`);
  }
  return [...bad];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_aa_asks_for(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.locator("#legend summary").click()
    assert page.evaluate(CONTRAST) == []
