"""The modules of the page as one script."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

import manifests.browse
from manifests.browse.classic import classic

MODULES = {
    "main.js": (
        'import { a, b as other } from "./a.js";\n'
        'import * as all from "./c.js";  // why\n'
        'globalThis.later = import("./d.js").then((found) => found.d + a(0));\n'
        "globalThis.done = `${a(2)} ${other} ${typeof all.$} ${all.K}`;\n"
    ),
    "a.js": (
        'import {\n  K,\n} from "./c.js";\n'
        "let hidden = 1;\n"
        "export function a(x) { return x + K + hidden; }\n"
        'export const b = "export const no = 1";\n'
    ),
    "d.js": 'import { b } from "./a.js";\nexport const d = b.length;\n',
    "c.js": "// import nothing\nlet hidden = 100;\nexport const K = 20;\nexport class $ {}\n",
}


def test_it_does_what_the_modules_do(page: Page) -> None:
    page.goto("about:blank")
    page.add_script_tag(content=classic(MODULES, "main.js"))
    assert page.evaluate("globalThis.done") == "23 export const no = 1 function 20"
    assert page.evaluate("globalThis.later") == len("export const no = 1") + 21
    assert page.evaluate("typeof hidden") == "undefined"


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"main.js": 'import "./a.js";'}, "cannot be made part"),
        ({"main.js": "export default 1;"}, "cannot be made part"),
        ({"main.js": "export let a = 1;"}, "cannot be made part"),
        ({"main.js": "const a = 1;\nexport { a };"}, "cannot be made part"),
        ({"main.js": 'import { a } from "./a.js";'}, "a.js, which is not there"),
        ({"main.js": 'import { b } from "./a.js";', "a.js": "export const a = 1, b = 2;"}, "imports b from a.js"),
        (
            {"main.js": 'import { a } from "./a.js";', "a.js": 'import { b } from "./main.js";'},
            "in a circle: main.js -> a",
        ),
    ],
)
def test_what_it_cannot_read_is_refused(modules: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classic(modules, "main.js")


def test_the_page_can_be_read() -> None:
    page = Path(manifests.browse.__file__).parent / "page"
    script = classic({file.name: file.read_text() for file in page.glob("*.js")}, "main.js")
    assert script.count('modules["') > len([*page.glob("*.js")])
