"""The README: its program runs, its tables and its picture are those of the code.

``python tests/test_readme.py`` brings the tables and the picture up to date.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from twamp.config.ping import PingConfig
from twamp.config.reflector import ReflectorConfig
from twamp.config.row import Config, default_text, key_of, rows
from twamp.protocol.states import TRANSITIONS, State, UnexpectedCommand

README = Path(__file__).parent.parent / "README.md"


def option_table(config: type[Config]) -> str:
    lines = ["| option | default | range | |", "| --- | --- | --- | --- |"]
    for field, row in rows(config):
        restart = " †" if row.restart else ""
        names = ", ".join(f"`{name}`" for name in (*row.flags, f"--{key_of(field)}"))
        default = default_text(row.default) or "–"
        text = row.help.replace("|", "\\|")
        lines.append(f"| {names} | {default} | {row.range or '–'} | {text}{restart} |")
    return "\n".join(lines)


def state_picture() -> str:
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> GREETING"]
    for state, transitions in TRANSITIONS.items():
        for kind, transition in transitions.items():
            mode = {None: "", True: " [RFC 5938]", False: " [not RFC 5938]"}[transition.individual]
            unexpected = kind is UnexpectedCommand
            refused, ok = ("length unknown", "") if unexpected else ("refused", "OK")
            both = transition.refused not in (None, transition.to)
            for to, word in ((transition.to, ok), (transition.refused, refused)):
                if to is None or (to is transition.to and word == refused):
                    continue
                label = f"{kind.__name__}{f' {word}' if both and word else ''}{mode}"
                lines.append(f"    {state.name} --> {to.name}: {label}")
    lines += [f"    {State.CLOSED.name} --> [*]", "```"]
    return "\n".join(lines)


GENERATED = {
    "options of twampd": lambda: option_table(ReflectorConfig),
    "options of twping": lambda: option_table(PingConfig),
    "states": state_picture,
}


def block(name: str, text: str) -> re.Match[str]:
    found = re.search(rf"<!-- {re.escape(name)} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert found is not None, name
    return found


@pytest.mark.parametrize("name", GENERATED)
def test_generated_blocks_are_fresh(name: str) -> None:
    found = block(name, README.read_text())[1].strip()
    assert found == GENERATED[name](), "run: python tests/test_readme.py"


def test_the_program_in_the_readme_runs() -> None:
    [program] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"100 sent, 0 lost, RTT \d+ ns\n", done.stdout)


def main() -> None:
    text = README.read_text()
    for name, make in GENERATED.items():
        found = block(name, text)
        text = text[: found.start(1)] + make() + "\n" + text[found.end(1) :]
    README.write_text(text)


if __name__ == "__main__":
    main()
